"""`audioheads init`: what it recognises, what it suggests, and that the config it writes runs."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

from features.errors import ManifestError, UserError
from pipeline.cli.app import main
from pipeline.config.config import load_config
from pipeline.config.yaml import parse_yaml
from pipeline.console import Console
from pipeline.init import cost
from pipeline.init.cost import Speed, minutes_text
from pipeline.init.look import Audio
from pipeline.init.suggest import candidates, suggest_backbones
from pipeline.init.write import run_init
from pipeline.stages.features import load_checked_manifest
from tests.pipeline import small_corpora
from tests.pipeline.datasets.test_download import MAKERS
from tests.pipeline.small_corpora import tone


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "MEASURED_S", 0.01)


def init(path, output=None, force=False):
    return run_init(path, output, device="cpu", force=force, console=Console())


def clips(root, *names, seconds=0.5, rate=16_000):
    for number, name in enumerate(names):
        tone(root / name, 300 + 50 * number, seconds, rate, number)
    return root


def six(root, *places, **options):
    """Six clips in each of some folders."""
    return clips(root, *(f"{place}/{n}.wav" for place in places for n in range(6)), **options)


@pytest.mark.e2e
def test_a_folder_per_class_becomes_a_config_that_runs(tmp_path, capsys):
    six(tmp_path / "my sounds", "dog", "cat: a")
    with pytest.raises(SystemExit) as end:
        main(["init", "my sounds"])
    assert end.value.code == 0
    printed, notes = capsys.readouterr()
    assert notes.startswith("init: inspecting my sounds\n")
    assert "12 clips, 2 classes" in printed and "audioheads run my-sounds.yaml" in printed
    text = (tmp_path / "my-sounds.yaml").read_text()
    assert "Clips per class: cat: a 6, dog 6." in text and "`group` column" in text
    config = load_config("my-sounds.yaml")
    assert (config.dataset.kind, config.protocol) == ("folder", "kfold")
    with pytest.raises(SystemExit) as end:
        main(["run", "my-sounds.yaml", "--set", "seeds=[0]", "--set", "heads=[{name: linear}]"])
    assert end.value.code == 0
    table = pd.read_csv(tmp_path / "runs" / "my-sounds" / "report" / "results.csv")
    used = {one.name for one in candidates() if f"    - {{name: {one.name}}}" in text}
    assert set(table["model"]) == used | {"majority"}
    assert "mfcc" in set(table["model"])


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        *(("esc50", "folds"), ("urbansound8k", "folds"), ("gtzan", "kfold"), ("fsdd", "split")),
        *(("speech_commands", "split"), ("ravdess", "leave-one-group-out"), ("voxceleb1", "split")),
    ],
)
def test_known_corpora_are_recognised_by_their_layout(tmp_path, name, protocol):
    for path, content in MAKERS[name]().items():
        top, _, rest = path.partition("/")
        place = tmp_path / "corpus" / (rest if top.startswith(("ESC", "Urban", "free")) else path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    config = load_config(init(tmp_path / "corpus"))
    assert (config.dataset.kind, config.protocol) == (name, protocol)
    load_checked_manifest(config)


def test_esc_10_is_distinguished_from_esc_50(tmp_path):
    config = load_config(init(small_corpora.esc10(tmp_path / "ESC-10")))
    assert (config.dataset.kind, config.dataset.subset, config.dataset.name) == ("esc50", "esc10", "esc10")


def test_other_genre_folders_are_not_gtzan(tmp_path):
    config = load_config(init(six(tmp_path / "music", "rock", "bossa nova", "fado")))
    assert config.dataset.kind == "folder"
    assert len(load_checked_manifest(config)) == 18


def test_a_manifest_with_other_names_of_columns(tmp_path):
    names = [f"{speaker}{n}.wav" for speaker in "abcd" for n in range(6)]
    clips(tmp_path / "audio", *names)
    table = pd.DataFrame({"Filename": [f"audio/{name}" for name in names]})
    table["emotion"] = ["happy", "sad"] * 12
    table["speaker"] = [name[0] for name in names]
    table.to_csv(tmp_path / "list.csv", index=False)
    config = load_config(init(tmp_path / "list.csv"))
    assert (config.name, config.protocol) == ("list", "leave-one-group-out")
    manifest = load_checked_manifest(config)
    assert (manifest.labels, manifest.clips["group"].nunique()) == (["happy", "sad"], 4)
    found = load_config(init(tmp_path, tmp_path / "again.yaml"))  # the folder, with the table in it
    assert load_checked_manifest(found).clips["label"].tolist() == manifest.clips["label"].tolist()


def test_a_table_with_blanks_in_its_name_is_named_like_the_config(tmp_path):
    table = pd.DataFrame({"path": [f"{n}.wav" for n in range(12)], "label": ["a", "b"] * 6})
    clips(tmp_path, *table["path"])
    for file, name in (("labels final v2.csv", "labels-final-v2"), ("labels.csv", None)):
        table.to_csv(tmp_path / file, index=False)
        config = load_config(init(tmp_path / file))
        assert config.dataset.name == name
        assert load_checked_manifest(config).name == config.name


@pytest.mark.parametrize(("labels", "task"), [("words", "multi-label"), ("numbers", "regression")])
def test_lists_of_labels_and_numbers(tmp_path, labels, task):
    names = [f"{n}.wav" for n in range(20)]
    clips(tmp_path, *names)
    words = [["x"], ["y"], ["x", "y"], []] * 5
    values = words if labels == "words" else list(np.linspace(0.5, 3.2, 20))
    pd.DataFrame({"path": names, "label": values}).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    config = load_config(init(tmp_path / "a.jsonl"))
    assert load_checked_manifest(config).task == task


def test_split_folders_become_a_manifest_next_to_the_config(tmp_path):
    six(tmp_path / "data", "train/dog", "train/cat", "val/dog", "val/cat", "test/dog", "test/cat")
    path = init(tmp_path / "data", tmp_path / "out" / "exp.yaml")
    config = load_config(path)
    manifest = load_checked_manifest(config)
    assert config.protocol == "split" and str(config.dataset.root) == str(tmp_path / "out" / "exp.csv")
    assert manifest.clips["split"].value_counts().to_dict() == {"train": 12, "valid": 12, "test": 12}
    assert manifest.labels == ["cat", "dog"] and manifest.path_of(0).is_file()
    path.unlink()
    with pytest.raises(UserError, match=r"exp\.csv: already exists"):
        init(tmp_path / "data", path)


def test_editors_find_a_schema_that_the_config_fits(tmp_path):
    six(tmp_path / "sounds", "dog", "cat")
    config = init(Path("sounds"), Path("configs/first.yaml"))
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", config.read_text())
    schema = json.loads((config.parent / named[1]).read_text())
    jsonschema.Draft202012Validator(schema).validate(parse_yaml(config.read_text()))
    assert init(Path("sounds"), config, force=True) == config  # the schema is not taken for a table or a label


def test_nothing_is_overwritten_without_force(tmp_path):
    six(tmp_path / "a", "x", "y")
    path = init(tmp_path / "a")
    path.write_text("mine")
    with pytest.raises(UserError, match=r"already exists; .*--force"):
        init(tmp_path / "a")
    assert path.read_text() == "mine"
    assert load_config(init(tmp_path / "a", force=True)).dataset.kind == "folder"


def test_few_clips_get_a_protocol_that_can_divide_them(tmp_path):
    config = load_config(init(clips(tmp_path / "few", *(f"{c}/{n}.wav" for c in "xy" for n in range(3)))))
    assert config.protocol == "holdout"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: clips(root, "1.wav", "2.wav"), "2 audio file.* no labels: looked for .* a folder per class"),
        (lambda root: root.mkdir(), "no audio files"),
        (lambda root: six(root, "only"), "no protocol can divide these clips: .*'only'"),
        (
            lambda root: (six(root, "x", "y"), [f.write_bytes(b"no") for f in root.rglob("*.wav")]),
            "none of 12 sampled clips",
        ),
    ],
)
def test_unusable_data_gives_the_reason(tmp_path, make, message):
    make(tmp_path / "it")
    with pytest.raises(UserError, match=message):
        init(tmp_path / "it")
    assert [*tmp_path.glob("*.yaml")] == []


def test_a_table_without_labels_or_files_gives_the_reason(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,notes\na.wav,hm\n")
    with pytest.raises(UserError, match=r"no column 'label' \(columns: 'path', 'notes'\); looked for label, labels"):
        init(table)
    table.write_text("path,label\na.wav,x\nb.wav,y\n")
    with pytest.raises(UserError, match="2 of 2 files are missing"):
        init(table)


def test_refit_is_offered_where_it_goes_if_validation_takes_much_of_few_clips(tmp_path):
    root = small_corpora.urbansound8k(tmp_path / "UrbanSound8K")  # three folds: one tests, one validates
    path = init(root)
    lines = path.read_text().splitlines()
    at = lines.index("protocol: folds")
    assert lines[at + 1].startswith("# Per fold, 4 of the 8 clips that are not tested validate. With refit, ")
    assert lines[at + 3 : at + 5] == ["# refit: true", "seeds: [0, 1, 2]"]
    assert not load_config(path).refit
    path.write_text(path.read_text().replace("# refit: true", "refit: true"))
    assert load_config(path).refit


def test_groups_that_names_suggest_are_named(tmp_path):
    names = [f"{label}/{who}_{n}.wav" for label in ("dog", "cat") for who in ("anna", "bert", "cleo") for n in range(3)]
    text = init(clips(tmp_path / "pets", *names)).read_text()
    said = re.sub(r"\n +# (?!pattern)", " ", text)
    assert said.count("The file names suggest 3 groups: anna, bert, cleo. If they are speakers") == 1
    assert "\n  # pattern: '{group}_{}'\n" in text


def audio(**changes):
    fields = {"median_s": 5.0, "shortest_s": 5.0, "longest_s": 5.0, "total_s": 1000.0, "rate": 16_000, "rates": 1}
    return Audio(**{**fields, "looked_at": 10, "unreadable": 0, **changes})


def test_backbones_are_judged_by_length_rate_and_kind_of_audio(tmp_path):
    def judged(kind="folder", **changes):
        return {one.candidate.name: one for one in suggest_backbones(audio(**changes), kind)}

    assert judged()["mfcc"].use
    assert "needs weights/yamnet.tflite" in judged()["yamnet"].why and not judged()["yamnet"].use
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "yamnet.tflite").touch()
    assert judged()["yamnet"].use
    assert "mostly padding" in judged(median_s=0.4)["yamnet"].why and not judged(median_s=0.4)["yamnet"].use
    assert "trained for another kind of sound" in judged("fsdd")["yamnet"].why and not judged("fsdd")["yamnet"].use
    assert "nothing above 4000 Hz" in judged(rate=8000)["wav2vec2-base"].why
    assert "up to 8000 Hz only" in judged(rate=44_100)["vggish"].why
    assert judged()["wav2vec2-nano"].use  # comes with the program
    assert list(judged("fsdd"))[2] == "wav2vec2-base" and list(judged("gtzan"))[2] == "yamnet"


def test_the_estimate_follows_audio_and_machine():
    slow, fast = Speed("cpu", 50.0, 0.02), Speed("cpu", 500.0, 0.02)
    by_name = {one.name: one for one in candidates()}
    for candidate in candidates():
        assert slow.minutes(candidate, 2000) == pytest.approx(2 * slow.minutes(candidate, 1000))
        assert slow.minutes(candidate, 1000) >= fast.minutes(candidate, 1000)
    assert slow.minutes(by_name["mfcc"], 6000) == pytest.approx(2)
    assert slow.minutes(by_name["wav2vec2-base"], 1000) > 3 * slow.minutes(by_name["vggish"], 1000)
    assert [minutes_text(m) for m in (0.2, 1.2, 40, 240)] == [
        *("under a minute", "about 1 minute", "about 40 minutes", "about 4 hours"),
    ]
    measured = cost.measure("cpu")
    assert measured.gflop_per_s > 0 and measured.mfcc_s > 0


def test_a_machine_too_busy_for_one_product_in_time_has_a_speed(monkeypatch):
    monkeypatch.setattr(cost, "MEASURED_S", 1e-9)
    assert cost.measure("cpu").gflop_per_s > 0


def test_comments_stay_comments(tmp_path):
    six(tmp_path / "odd", "a # b", "c\nd", "- e")
    text = init(tmp_path / "odd").read_text()
    config = load_config("odd.yaml")
    assert len(load_checked_manifest(config).labels) == 3
    assert all(re.match(r"#|\s*#|[\w ]|$", line) for line in text.splitlines())


def test_small_classes_get_the_line_that_leaves_them_out(tmp_path, capsys):
    six(tmp_path / "calls", "dog", "cat")
    clips(tmp_path / "calls", "owl/0.wav")
    output = init(tmp_path / "calls")
    text = output.read_text()
    assert "1 of 3 classes are too small for every protocol" in re.sub(r"\n +# ", " ", text)
    said = "proposed in the config as a comment: min_clips: 3 (1 of 3 classes are too small for every protocol"
    assert said in capsys.readouterr().err
    with pytest.raises(ManifestError, match=r"dataset.min_clips: 3"):
        load_checked_manifest(load_config(output))
    output.write_text(text.replace("  # min_clips: 3", "  min_clips: 3"))
    assert load_checked_manifest(load_config(output)).labels == ["cat", "dog"]


def test_classes_of_one_group_are_listed(tmp_path):
    names = [f"{label}{n}.wav" for label in ("a", "b", "c") for n in range(6)]
    clips(tmp_path, *names)
    rows = [f"{name},{name[0]},{'g0' if name[0] == 'c' else f'g{name[1]}'}" for name in names]
    (tmp_path / "clips.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    text = init(tmp_path / "clips.csv").read_text()
    assert "exclude: [c]" in text


def test_labels_that_may_be_another_task_are_asked_about(tmp_path, capsys):
    names = [f"{n}.wav" for n in range(24)]
    clips(tmp_path, *names, seconds=0.1)
    (tmp_path / "clips.csv").write_text("path,label\n" + "".join(f"{n},{20 + i % 4}.0\n" for i, n in enumerate(names)))
    text = init(tmp_path / "clips.csv").read_text().replace("\n# ", " ")
    assert "Note: clips: are the labels quantities? Numbers such as '20.0' are read as 4 classes" in text
    assert "set dataset.task: regression" in capsys.readouterr().err
