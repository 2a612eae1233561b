"""`init` on folders and file names: levels, patterns, and guesses that are called guesses."""

import os
import re
import shutil

import pandas as pd
import pytest

from features.errors import UserError
from features.manifest import Manifest
from pipeline.cli.app import main
from pipeline.config.config import load_config
from pipeline.init.patterns import guess_labels, known_scheme
from pipeline.results.group_names import groups_in_names
from tests.pipeline.init.layouts import clips, emodb, ravdess_in_other_folders, urbansound8k_without_table
from tests.pipeline.init.test_tables import here, init, read, without_mark

__all__ = ["here"]


def grid(*parts, form="{}_{}_{}.wav"):
    names = [[]]
    for part in parts:
        names = [[*name, one] for name in names for one in part]
    return [form.format(*name) for name in names]


def of_paths(paths):
    labels = [path.split("/")[0] for path in paths]
    return Manifest("toy", ".", pd.DataFrame({"id": paths, "path": paths, "label": labels}))


@pytest.mark.parametrize(
    ("paths", "pattern"),
    [
        (grid("abc", ("dog", "cat"), "123", form="s{}_{}_0{}.wav"), "{group}_{label}_{}"),
        (grid(("dog", "goat"), "123456", form="{}{}.wav"), r"(?:^|/)(?P<label>[^\W\d_]+)\d+\.\w+$"),
        (grid(("dog", "owl"), "123456", form="x/{}{}.flac"), "{label:3}{:1}"),
        (grid(("dog", "cat"), ("a_1", "b"), form="{}_{}.wav") * 2, "{label}_{}"),
        (grid("13579", "123456789", form="{}{}.wav"), None),
    ],
)
def test_labels_in_names(paths, pattern):
    guesses = guess_labels(paths)
    assert (guesses[0].pattern if guesses else None) == pattern


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (grid(("anna", "bob", "cleo"), "123", form="{}_{}.wav"), "{group}_{}"),
        (grid(("anna", "bob"), "12", form="{}_{}.wav"), None),
        (grid(("s1", "s2", "s3"), ("x1", "y22"), form="{}-{}.wav"), "{group}-{}"),
        (grid("12", ("a", "b", "c"), form="0{}{}.wav"), "{:2}{group:1}"),
        (grid("123456", form="{}.wav"), None),
        (grid("123456", form="take_{}.wav"), None),
    ],
)
def test_groups_cross_every_class_and_running_numbers_do_not_count(names, pattern):
    found = groups_in_names(of_paths([f"{label}/{name}" for label in ("dog", "cat") for name in names]))
    assert (found[0].pattern if found else None) == pattern


def test_the_class_in_the_name_is_no_group():
    paths = [f"{label}/{label}_{n}.wav" for label in ("dog", "cat") for n in range(5)]
    assert groups_in_names(of_paths(paths)) == []


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("03-01-05-01-02-01-12.wav", "RAVDESS"), ("x/03a01Fa.wav", "EMO-DB"), ("1001_DFA_ANG_XX.wav", "CREMA-D")],
)
def test_known_schemes(name, scheme):
    assert scheme in known_scheme([name]).what
    assert known_scheme([name, "other.wav"]) is None


@pytest.mark.parametrize(
    ("layout", "labels", "groups"),
    [(ravdess_in_other_folders, ["03", "04", "05"], 4), (emodb, ["F", "N", "W"], 3)],
)
def test_schemes_give_label_and_speaker(tmp_path, layout, labels, groups):
    config = init(layout(tmp_path / "corpus"))
    manifest = read(config)
    assert (manifest.labels, manifest.clips["group"].nunique()) == (labels, groups)
    assert load_config(config).protocol == "leave-one-group-out"
    assert read(without_mark(config, "rename")).labels in (["angry", "happy", "sad"], ["anger", "happiness", "neutral"])


def test_urbansound8k_without_its_table(tmp_path):
    config = init(urbansound8k_without_table(tmp_path / "us8k"))
    assert (load_config(config).dataset.kind, load_config(config).protocol) == ("urbansound8k", "folds")
    assert read(config).labels == ["dog_bark", "siren"]


def test_a_flat_folder_with_a_pattern(tmp_path, capsys):
    clips(tmp_path / "flat", *grid("abcd", ("dog", "cat"), "123"))
    with pytest.raises(SystemExit) as end:
        main(["init", "flat", "--pattern", "{group}_{label}_{}.wav"])
    assert end.value.code == 0
    config = load_config("flat.yaml")
    assert (config.dataset.pattern, config.protocol) == ("{group}_{label}_{}.wav", "leave-one-group-out")
    with pytest.raises(SystemExit) as end:
        main(["init", "flat", "--force", "--pattern", "{group}-{label}.wav"])
    assert end.value.code == 2 and "does not match 24 of 24 files: a_cat_1.wav" in capsys.readouterr().err


def test_a_pattern_of_groups_beside_class_folders(tmp_path):
    clips(tmp_path / "c", *(f"{label}/{s}_{n}.wav" for label in ("x", "y") for s in "abc" for n in range(3)))
    manifest = read(init(tmp_path / "c", pattern="{group}_{}.wav"))
    assert (manifest.labels, manifest.clips["group"].nunique()) == (["x", "y"], 3)


def test_a_guess_is_called_one_and_lists_the_others(tmp_path, capfd):
    clips(tmp_path / "flat", *grid(("anna", "bob", "cleo"), ("dog", "cat", "cow"), "1234"))
    config = init(tmp_path / "flat")
    assert "the labels are a guess" in capfd.readouterr().err
    text = config.read_text()
    assert "Note: the labels are a guess: check the classes." in text
    first, others = load_config(config).dataset.pattern, re.findall(r"^# dataset: .*pattern: '(.*)'\}$", text, re.M)
    assert {first, *others} >= {"{label}_{group}_{}", "{group}_{label}_{}"}


def test_a_crossing_prefix_is_proposed_with_its_gain(tmp_path):
    clips(tmp_path / "c", *(f"{label}/s{s}_{n}.wav" for label in ("x", "y") for s in range(5) for n in range(2)))
    config = init(tmp_path / "c")
    text = re.sub(r"\n +# (?!pattern)", " ", config.read_text())
    (found,) = groups_in_names(read(config))
    assert found.text() in text and "The file names suggest 5 groups: s0, s1, s2, …. If they are speakers" in text
    assert "group" not in read(config).clips
    assert read(without_mark(config, "pattern")).clips["group"].nunique() == 5
    assert "\n# protocol: leave-one-group-out\n" in config.read_text()


@pytest.mark.parametrize(
    ("form", "first", "other"),
    [
        ("wav/{label}/{n}.wav", {"root": "c/wav"}, None),
        ("speaker{group}/{label}/{n}.wav", {"pattern": "{group}/{label}/{}"}, "a folder per class"),
        ("{label}/p{group}/{n}.wav", {"root": "c"}, "inner folders are the classes"),
        ("fold{group}/{label}/{n}.wav", {"pattern": "fold{fold}/{label}/{}"}, None),
    ],
)
def test_levels_of_folders(tmp_path, form, first, other):
    names = [form.format(label=x, group=g, n=n) for x in ("dog", "cat") for g in range(1, 6) for n in (g, 10 + g)]
    clips(tmp_path / "c", *names)
    config = init(tmp_path / "c")
    dataset = load_config(config).dataset
    assert read(config).labels == ["cat", "dog"]
    assert {key: str(getattr(dataset, key)).removeprefix(f"{tmp_path}/") for key in first} == first
    assert other is None or other in config.read_text()
    if form.startswith("{label}/p"):
        assert read(without_mark(config, "pattern")).clips["group"].nunique() == 5


def test_one_folder_of_unnamed_clips_is_no_class(tmp_path):
    clips(tmp_path / "c", *(f"{n}.wav" for n in range(6)))
    with pytest.raises(UserError, match=r"6 audio file\(s\), but no labels: .*--pattern"):
        init(tmp_path / "c")


def test_files_left_out_are_named(tmp_path, caplog):
    clips(tmp_path / "c", *(f"{label}/{n}.wav" for label in "xy" for n in range(6)))
    (tmp_path / "c" / "x" / "film.mp4").touch()
    (tmp_path / "c" / "x" / "call.amr").touch()
    init(tmp_path / "c")
    assert caplog.text.count("left out 1 .amr file, 1 .mp4 file") == 1


@pytest.mark.parametrize("layout", ["classes", "table"])
def test_every_folder_is_listed_once(tmp_path, monkeypatch, layout):
    clips(tmp_path / "c", *(f"{label}/{n}.wav" for label in ("xx", "yy", "zz") for n in range(6)))
    if layout == "table":
        rows = (f"{n}.wav,{n % 2}" for n in range(6))
        (tmp_path / "c" / "meta.csv").write_text("path,label\n" + "\n".join(rows))
        for place in ("yy", "zz"):
            shutil.rmtree(tmp_path / "c" / place)
    seen = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": (seen.append(str(path)), scan(path))[1])
    monkeypatch.setattr("pipeline.init.write.config_text", lambda *a: "dataset: {kind: folder, root: c}")
    init(tmp_path / "c")
    inside = [path for path in seen if path.startswith(f"{tmp_path}/c")]
    assert sorted(inside) == sorted({*inside})
