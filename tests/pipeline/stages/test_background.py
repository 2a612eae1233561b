"""Background in whole experiments: rates equal those counted by hand, and nothing leaks between its parts."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from pipeline.cache.prune import prune_clips
from pipeline.config.config import make_config
from pipeline.console import Console
from pipeline.predicting.predictor import Predictor
from pipeline.recordings.background import background_of
from pipeline.report.run import run_report
from pipeline.results.decisions.fit_decisions import read_decisions
from pipeline.stages.features import load_corpus, run_features
from pipeline.stages.train_heads import run_heads
from tests.pipeline.small_corpora import tone

pytestmark = pytest.mark.e2e  # trains heads

RATE, WINDOW_S = 16_000, 0.5
PITCHES = {"high": 900, "low": 300}
HEADS = [{"name": "linear", "l2": [0.1]}]
QUIET = {"max_false_alarms_per_hour": 900, "below": "unknown"}


def sounds(root):
    """Six tones of each of two classes."""
    for label, pitch in PITCHES.items():
        for take in range(6):
            tone(root / "sounds" / label / f"{take}.wav", pitch, WINDOW_S, RATE, pitch + take)


def recording(path, seed, tones=()):
    """Four seconds of noise, that is eight windows, with tones in some of them."""
    rng = np.random.default_rng(seed)
    samples = 0.05 * rng.standard_normal(4 * RATE)
    length = round(WINDOW_S * RATE)
    for window, pitch in tones:
        samples[window * length :][:length] += 0.4 * np.sin(2 * np.pi * pitch * np.arange(length) / RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, RATE)


def experiment(root, name="made", **values):
    """Run stages 1 and 2; return the config and the corpus."""
    config = make_config(
        {
            "name": name,
            "dataset": {"kind": "folder", "root": str(root / "sounds")},
            "features": {"pooling": ["mean", "std"]},
            "heads": HEADS,
            "background": {"root": str(root / "noise")},
            "output": {"cache": str(root / "cache"), "runs": str(root / "runs")},
            **values,
        }
    )
    how = {"device": "cpu", "dry_run": False, "strict": False, "console": Console()}
    corpus = load_corpus(config)
    run_features(config, limit=None, corpus=corpus, **how)
    run_heads(config, corpus=corpus, **how)
    return config, corpus


def test_false_alarms_per_hour_are_those_counted_by_hand(tmp_path):
    sounds(tmp_path)
    for number in range(6):
        recording(tmp_path / "noise" / f"{number}.wav", number, [(2, 300), (3, 300), (6, 900)])
    values = {"calibrate": "temperature", "operating_point": QUIET, "background_in": ["valid", "test"]}
    config, _ = experiment(tmp_path, **values)
    run_report(config, console=Console())
    model, report = config.run_dir / "models" / "mfcc" / "linear", config.run_dir / "report"
    labels = json.loads((config.run_dir / "labels.json").read_text())
    table = pd.read_csv(config.run_dir / "background.csv")
    tested = table.loc[table["part"] == "test", "recording"].unique().tolist()
    windows = [sf.read(tmp_path / "noise" / name)[0].reshape(8, -1) for name in tested]
    assert len(tested) == 3
    counts, events = [], []
    for (fold, _, _), decisions in read_decisions(model, 2).items():
        fresh = Predictor.load(model, fold=fold, device="cpu")
        decided = []
        for own in windows:
            scores = fresh.predict(list(own.astype(np.float32)), sample_rate=RATE)
            reached = scores.max(axis=1) >= decisions.point.thresholds[scores.argmax(axis=1)]
            decided.append(
                [labels[at] if sure else "" for at, sure in zip(scores.argmax(axis=1), reached, strict=True)]
            )
        counts.append({label: sum(one.count(label) for one in decided) for label in labels})
        events.append(sum(own[at] != "" and (at == 0 or own[at - 1] != own[at]) for own in decided for at in range(8)))
    table = pd.read_csv(report / "false_alarms.csv", keep_default_na=False)
    of_rule = table[table["rule"] == "max_false_alarms_per_hour 900"]
    rows = of_rule[~of_rule["averaged"]].set_index("class")
    hours = 12 / 3600
    for label in labels:
        assert rows.loc[label, "false_alarms_per_hour"] == pytest.approx(
            np.mean([one[label] for one in counts]) / hours
        )
    total = np.mean([sum(one.values()) for one in counts])
    assert 1 < total < 20
    assert rows.loc["", "false_alarms_per_hour"] == pytest.approx(total / hours)
    assert rows.loc["", "events_per_hour"] == pytest.approx(np.mean(events) / hours)
    assert set(rows["interval"]) == {"clustered by recording"} and np.allclose(rows["hours"], hours)
    without = table[(table["rule"] == "most probable class") & (table["scope"] == "all")]
    assert without["false_alarms"].tolist() == [24, 24]
    # The mean of the folds is what `predict` decides by.
    mean = Predictor.load(model, device="cpu")
    scores = mean.predict([window.astype(np.float32) for own in windows for window in own], sample_rate=RATE)
    reached = scores.max(axis=1) >= mean.thresholds[scores.argmax(axis=1)]
    averaged = of_rule[of_rule["averaged"]].set_index("class")
    assert averaged.loc["", "false_alarms"] == reached.sum() and averaged.loc["", "fits"] == 1
    # The same numbers in the JSON, and the tones are the loudest in the page.
    (entry,) = json.loads((report / "false_alarms.json").read_text())["made"]
    assert [row["false_alarms_per_hour"] for row in entry["rows"]] == pytest.approx(
        table["false_alarms_per_hour"].tolist()
    )
    loudest = entry["loudest"][0]["id"].removeprefix("background:").removesuffix("+0.5")
    recording_of, start = loudest.split("@")
    assert start in ("1", "1.5", "3") and recording_of in tested
    page = (report / "index.html").read_text()
    assert f'src="../../../noise/{recording_of}#t={float(start):.3f},{float(start) + 0.5:.3f}"' in page


def noises(root, n=6, other=()):
    """Recordings with a tone each; those in `other` get other noise and two tones."""
    for number in range(n):
        if number in other:
            recording(root / "noise" / f"{number}.wav", 100 + number, [(1, 300), (5, 900)])
        else:
            recording(root / "noise" / f"{number}.wav", number, [(number, 500)])


def learned(config):
    """Bytes of all heads of a run, with their maps and thresholds."""
    return {path.name: path.read_bytes() for path in sorted((config.run_dir / "models").glob("*/*/*.safetensors"))}


@pytest.mark.parametrize("parts", [["test"], ["valid", "test"], ["train", "valid", "test"]], ids=len)
def test_test_recordings_change_no_head_and_others_do(tmp_path, parts):
    sounds(tmp_path)
    noises(tmp_path)
    point = {"min_precision": 0.8, "below": "unknown"} if parts == ["test"] else QUIET
    values = {"background_in": parts, "operating_point": point, "calibrate": "temperature"}
    config, corpus = experiment(tmp_path, "before", **values)
    before, division = learned(config), background_of(corpus).table()
    part_of = dict(zip(division["recording"], division["part"], strict=True))
    for changed in parts:
        other = [int(name[0]) for name, part in part_of.items() if part == changed]
        assert other
        noises(tmp_path, other=other)
        config, corpus = experiment(tmp_path, f"other-{changed}", **values)
        assert background_of(corpus).table().equals(division)
        assert (learned(config) == before) == (changed == "test")


@pytest.mark.parametrize("several", [False, True])
def test_background_joins_training_as_a_class_or_as_none(tmp_path, several):
    sounds(tmp_path)
    for number in range(5):
        recording(tmp_path / "noise" / f"{number}.wav", number)
    dataset = {"kind": "folder", "root": str(tmp_path / "sounds")}
    if several:
        rows = [(f"{label}/{take}.wav", [label]) for label in PITCHES for take in range(6)]
        pd.DataFrame(rows, columns=["path", "label"]).to_json(
            tmp_path / "sounds" / "all.jsonl", orient="records", lines=True
        )
        dataset = {"kind": "jsonl", "root": str(tmp_path / "sounds" / "all.jsonl"), "task": "multi-label"}
    rates = []
    for parts in (["test"], ["train", "valid", "test"]):
        config, _ = experiment(tmp_path, f"in-{len(parts)}", dataset=dataset, background_in=parts)
        run_report(config, console=Console())
        table = pd.read_csv(config.run_dir / "report" / "false_alarms.csv", keep_default_na=False)
        rates.append(float(table.loc[table["scope"] == "all", "share_of_windows"].iloc[0]))
        results = pd.read_csv(config.run_dir / "report" / "results.csv")
        assert results["n_test"].tolist() == [12, 12]
        assert results["accuracy" if not several else "value"].max() > 0.9
    labels = json.loads((config.run_dir / "labels.json").read_text())
    assert labels == (["high", "low"] if several else ["background", "high", "low"])
    assert "background" not in table["class"].tolist()
    assert rates[0] > 0.4 and rates[1] < 0.1


def test_few_labelled_clips_are_drawn_beside_all_background_of_training(tmp_path):
    sounds(tmp_path)
    noises(tmp_path)
    values = {
        "background_in": ["train", "valid", "test"],
        "protocol": "few-shot",
        "few_shot": {"shots": 2, "draws": 2},
        "label_efficiency": {"shots": [1, "all"], "draws": 2},
    }
    config, corpus = experiment(tmp_path, **values)
    part_of = background_of(corpus).table().groupby("part")["recording"].unique()
    assert not set(part_of["train"]) & set(part_of["test"]) and not set(part_of["valid"]) & set(part_of["test"])
    curve = config.run_dir / "label-efficiency" / "mfcc" / "linear"
    tables = [pd.read_parquet(folder / "predictions.parquet") for folder in (curve / "1", curve / "all")]
    tables.append(pd.read_parquet(config.run_dir / "models" / "mfcc" / "linear" / "predictions.parquet"))
    for table, draws in zip(tables, (2, 1, 2), strict=True):
        # Only labelled clips are tested, each once in every draw.
        assert len(table) == 12 * draws and not table["id"].str.startswith("background").any()
    # Recordings for test change no prediction.
    noises(tmp_path, other=[int(name[0]) for name in part_of["test"]])
    experiment(tmp_path, "other", **values)
    again = config.run_dir.parent / "other" / "label-efficiency" / "mfcc" / "linear"
    for shots, table in zip(("1", "all"), tables, strict=False):
        other = pd.read_parquet(again / shots / "predictions.parquet")
        pd.testing.assert_frame_equal(other.drop(columns="run"), table.drop(columns="run"))


def test_scores_follow_the_recordings_without_training_again(tmp_path, capsys):
    sounds(tmp_path)
    recording(tmp_path / "noise" / "0.wav", 0)
    config, _ = experiment(tmp_path)
    file = config.run_dir / "models" / "mfcc" / "linear" / "background.parquet"
    first = file.stat().st_mtime_ns
    experiment(tmp_path)
    assert file.stat().st_mtime_ns == first
    recording(tmp_path / "noise" / "1.wav", 1)
    capsys.readouterr()
    experiment(tmp_path)
    assert file.stat().st_mtime_ns > first and "linear: reused" in capsys.readouterr().out
    assert len(pd.read_csv(config.run_dir / "background.csv")) == 16
    assert len(pd.read_parquet(file)) == 16 * 5
    capsys.readouterr()
    prune_clips([config], dry_run=True, console=Console())
    assert "would remove 0 clips" in capsys.readouterr().out
