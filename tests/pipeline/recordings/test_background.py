"""Recordings of background: how they are cut and divided, and which ones are refused."""

import jsonschema
import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from features.errors import ConfigError, ManifestError
from pipeline.config.config import make_config
from pipeline.config.json_schema import config_schema
from pipeline.recordings.background import background_of, embedded_clips
from pipeline.recordings.division import divide
from pipeline.stages.features import load_corpus
from tests.pipeline.small_corpora import tone

RATE = 16_000


def noise(path, seconds, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)), RATE)


@pytest.fixture
def root(tmp_path):
    """Ten clips of half a second, and five recordings of two to four seconds."""
    for label, pitch in (("low", 300), ("high", 800)):
        for take in range(5):
            tone(tmp_path / "sounds" / label / f"{take}.wav", pitch, 0.5, RATE, pitch + take)
    for number in range(5):
        noise(tmp_path / "noise" / f"{number}.wav", 2 + 0.5 * number, number)
    return tmp_path


def corpus_of(root, background="noise", **values):
    given = values.pop("dataset", {"kind": "folder", "root": str(root / "sounds")})
    section = background if isinstance(background, dict) else {"root": str(root / background)}
    output = {"cache": str(root / "cache"), "runs": str(root / "runs")}
    return load_corpus(make_config({"dataset": given, "background": section, "output": output, **values}))


def test_windows_are_as_long_as_clips_and_cover_the_recordings(root):
    corpus = corpus_of(root)
    background = background_of(corpus)
    rows = background.rows("test")
    recordings = background.recordings_of(rows)
    assert len(background.rows("train", "valid")) == 0
    assert np.allclose(recordings.hours * 3600, [2, 2.5, 3, 3.5, 4])
    assert np.bincount(recordings.of_window).tolist() == [4, 5, 6, 7, 8]
    assert (~recordings.follows).sum() == 5
    assert background.manifest.clips["id"].iat[1] == "background:0.wav@0.5+0.5"
    assert len(embedded_clips(corpus).manifest) == 10 + 30
    assert len(corpus.manifest) == 10


def test_overlapping_windows_count_time_once(root):
    background = background_of(corpus_of(root, {"root": [str(root / "noise" / "0.wav")], "window_s": 1, "hop_s": 0.25}))
    recordings = background.recordings_of(background.rows("test"))
    assert len(recordings.of_window) == 5
    assert recordings.total_hours * 3600 == pytest.approx(2)


def test_a_table_of_segments_is_one_recording_per_file(root):
    pd.DataFrame(
        {"path": ["noise/4.wav"] * 2 + ["noise/3.wav"], "start_s": [0, 2, 0], "duration_s": [1, 1, 3.5]}
    ).to_csv(root / "quiet.csv", index=False)
    background = background_of(corpus_of(root, "quiet.csv"))
    recordings = background.recordings_of(background.rows("test"))
    assert sorted(recordings.hours * 3600) == pytest.approx([2, 3.5])
    assert (~recordings.follows).sum() == 3


@pytest.mark.parametrize("parts", [["valid", "test"], ["train", "valid", "test"]])
def test_a_recording_is_in_one_part_also_under_two_names(root, parts):
    (root / "noise" / "copy.wav").write_bytes((root / "noise" / "2.wav").read_bytes())
    background = background_of(corpus_of(root, background_in=parts))
    found = pd.DataFrame({"recording": background.recordings, "part": background.parts})
    assert set(found["part"]) == set(parts)
    assert (found.groupby("recording")["part"].nunique() == 1).all()
    of_copy = background.table().set_index("recording")["part"]
    assert set(of_copy.loc["copy.wav"]) == set(of_copy.loc["2.wav"])


def test_parts_get_their_shares_of_the_audio():
    hours = np.random.default_rng(0).uniform(0.1, 1, 200)
    parts = np.array(divide(hours, ["train", "valid", "test"], 0))
    shares = [hours[parts == part].sum() / hours.sum() for part in ("train", "valid", "test")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    assert parts.tolist() != divide(hours, ["train", "valid", "test"], 1)
    assert sorted(divide(np.ones(3), ["train", "valid", "test"], 0)) == ["test", "train", "valid"]


def test_labelled_audio_is_refused_and_both_files_are_named(root):
    (root / "noise" / "x.wav").write_bytes((root / "sounds" / "low" / "3.wav").read_bytes())
    with pytest.raises(ConfigError, match=r"noise/x\.wav has the audio of the labelled clip .*sounds/low/3\.wav"):
        corpus_of(root)


def test_other_times_of_a_labelled_file_may_be_background(root):
    noise(root / "long.wav", 10, 9)
    table = pd.DataFrame({"path": ["long.wav"] * 10, "start_s": np.arange(10) / 2, "duration_s": 0.5})
    table.assign(label=["a", "b"] * 5).to_csv(root / "labelled.csv", index=False)
    table.iloc[:1].assign(start_s=5, duration_s=5).to_csv(root / "quiet.csv", index=False)
    dataset = {"kind": "csv", "root": str(root / "labelled.csv")}
    assert len(background_of(corpus_of(root, "quiet.csv", dataset=dataset)).rows("test")) == 10
    table.iloc[:1].assign(start_s=4.7, duration_s=5).to_csv(root / "quiet.csv", index=False)
    with pytest.raises(ConfigError, match="has the audio of the labelled clip"):
        corpus_of(root, "quiet.csv", dataset=dataset)


@pytest.mark.parametrize(
    ("background", "values", "message"),
    [
        ({"root": "noise", "window_s": 9}, {}, "the longest recording of .*noise has 4 s, less than a window of 9 s"),
        ({"root": "empty"}, {}, r"background\.root: .*empty: contains no audio files"),
        ({"root": "none"}, {}, r"background\.root: .*none: no such file or folder"),
        ({"root": "bad"}, {}, r"background\.root: no recording of .*bad can be read, first bad\.wav"),
        ({"root": "noise/0.wav"}, {"background_in": ["valid", "test"]}, "need 2 recordings, and background has 1"),
        ({"root": "noise", "hop_s": 0.7}, {}, r"background\.hop_s: 0\.7 leaves gaps between windows of 0\.5 s"),
    ],
)
def test_bad_recordings_are_named(root, background, values, message):
    (root / "empty").mkdir()
    (root / "bad").mkdir()
    (root / "bad" / "bad.wav").write_bytes(b"no audio")
    section = background | {"root": str(root / background["root"])}
    with pytest.raises((ConfigError, ManifestError), match=message):
        corpus_of(root, section, **values)


def test_numbers_and_a_class_of_this_name_are_refused(root):
    paths = [f"sounds/{label}/{take}.wav" for label in ("low", "high") for take in range(5)]
    dataset = {"kind": "csv", "root": str(root / "labelled.csv")}
    pd.DataFrame({"path": paths, "label": np.arange(10) / 3}).to_csv(root / "labelled.csv", index=False)
    with pytest.raises(
        ConfigError, match="background: false alarms are of classes, and the labels of labelled are num"
    ):
        corpus_of(root, dataset=dataset, protocol="holdout")
    pd.DataFrame({"path": paths, "label": ["a", "background"] * 5}).to_csv(root / "labelled.csv", index=False)
    assert corpus_of(root, dataset=dataset).manifest.labels == ["a", "background"]
    with pytest.raises(ConfigError, match="background would join the class 'background' that labelled has"):
        corpus_of(root, dataset=dataset, background_in=["train", "valid", "test"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"background": {"root": "a", "window_s": 1, "hop_s": 2}}, "hop_s 2 leaves gaps between windows of 1 s"),
        ({"background": {}}, r"background\.root: missing"),
        (
            {"background": "a", "background_in": ["train", "test"]},
            r"\[train, test\] is none of \[test\], \[valid, test\]",
        ),
        ({"background_in": ["valid", "test"]}, "background_in: needs recordings; set `background`"),
        (
            {"background": "a", "operating_point": {"max_false_alarms_per_hour": 1}},
            r"needs recordings of background for validation: set `background_in: \[valid, test\]`",
        ),
        (
            {
                "background": "a",
                "background_in": ["train", "valid", "test"],
                "operating_point": {"max_false_alarms_per_hour": 1},
                "refit": True,
            },
            "refit: would train on the background that thresholds are chosen on",
        ),
    ],
)
def test_contradictions_are_found_in_the_config(values, message):
    with pytest.raises(ConfigError, match=message):
        make_config({"dataset": {"kind": "folder", "root": "x"}, **values})


def test_a_path_or_paths_can_replace_the_mapping():
    check = jsonschema.Draft202012Validator(config_schema())
    for background in ("noise", ["noise", "more.wav"], {"root": "noise", "window_s": 2}):
        values = {"dataset": {"kind": "folder", "root": "x"}, "background": background}
        assert list(check.iter_errors(values)) == []
        roots = make_config(values).background.root
        assert [str(root) for root in roots] == (["noise", "more.wav"] if isinstance(background, list) else ["noise"])
    assert list(check.iter_errors(values | {"background": 3}))
