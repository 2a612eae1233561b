"""Label, group, fold and split from file names."""

import logging

import pytest

from features.datasets import load_manifest
from features.datasets.naming import parse_pattern
from features.errors import ConfigError, ManifestError


def folder(root, *names, **options):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return load_manifest({"kind": "folder", "root": root, **options}).clips


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{group}_{label}_{}.wav", "s1_dog_03.wav", {"group": "s1", "label": "dog"}),
        ("{group}_{label}_{}.wav", "deep/er/s1_dog_03_b.WAV", {"group": "s1", "label": "dog"}),
        ("{label}_{}", "dog_1.flac", {"label": "dog"}),
        ("{label}_{}.wav", "dog_1.flac", None),
        ("{label}_{}.wav", "dog.wav", None),
        ("{group}/{label}/{}.wav", "x/anna/dog/1.wav", {"group": "anna", "label": "dog"}),
        (
            "fold{fold}/{group}-{label}-{}-{}.wav",
            "audio/fold2/101-3-0-1.wav",
            {"fold": "2", "group": "101", "label": "3"},
        ),
        ("{group:2}{:3}{label:1}{}.wav", "03a01Fa.wav", {"group": "03", "label": "F"}),
        ("{}-{}-{label}-{}-{}-{}-{group}.wav", "03-01-05-01-02-01-12.wav", {"label": "05", "group": "12"}),
        (r"(?P<label>[a-z]+)\d+\.wav$", "x/dog12.wav", {"label": "dog"}),
        (r"(?P<label>[a-z]*)\d+\.wav$", "x/12.wav", None),
        ("{split}/{label}.{}", "train/dog.x.wav", {"split": "train", "label": "dog"}),
    ],
)
def test_patterns(pattern, path, expected):
    assert parse_pattern(pattern).read(path) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{speaker}_{}.wav", "has the field 'speaker'; use label, group, fold, split, or {} for anything"),
        ("{}_{}.wav", "has no field"),
        ("{label}_{label}.wav", "has the field 'label' twice"),
        ("{label_{}.wav", "brace"),
        ("{label:x}.wav", "should have a number of characters after the colon"),
        ("(?P<label>[", "not a regular expression"),
    ],
)
def test_bad_patterns_name_the_mistake(tmp_path, pattern, message):
    with pytest.raises(ConfigError, match=r"dataset\.pattern") as error:
        load_manifest({"kind": "folder", "root": tmp_path, "pattern": pattern})
    assert message in str(error.value)


def test_a_flat_folder_with_a_pattern(tmp_path):
    clips = folder(tmp_path, "s1_dog_1.wav", "s1_cat_1.wav", "s2_dog_1.wav", pattern="{group}_{label}_{}.wav")
    assert clips[["path", "group", "label"]].to_numpy().tolist() == [
        ["s1_cat_1.wav", "s1", "cat"],
        ["s1_dog_1.wav", "s1", "dog"],
        ["s2_dog_1.wav", "s2", "dog"],
    ]


def test_a_pattern_adds_groups_to_class_folders(tmp_path):
    clips = folder(tmp_path, "dog/s1_1.wav", "cat/s2_1.wav", pattern="{group}_{}.wav")
    assert clips[["label", "group"]].to_numpy().tolist() == [["cat", "s2"], ["dog", "s1"]]
    with pytest.raises(ManifestError, match=r"does not match 1 of 3 files: dog/3.wav; every clip needs its group"):
        folder(tmp_path, "dog/3.wav", pattern="{group}_{}.wav")


def test_a_pattern_that_matches_a_part_says_which_do_not_match(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        clips = folder(tmp_path, "dog_1.wav", "cat_1.wav", "noise.wav", pattern="{label}_{}.wav")
    assert clips["label"].tolist() == ["cat", "dog"]
    assert "does not match 1 of 3 files: noise.wav; they are left out" in caplog.text
    with pytest.raises(ManifestError, match=r"does not match 3 of 3 files: cat_1.wav, dog_1.wav, noise.wav"):
        folder(tmp_path, pattern="{label}-{}.wav")


def test_a_pattern_reads_the_paths_of_a_table(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("filename,label,group\ns1_1.wav,dog,x\ns2_1.wav,cat,x\n")
    options = {"kind": "csv", "root": table, "pattern": "{group}_{}.wav"}
    assert load_manifest(options).clips["group"].tolist() == ["s1", "s2"]
    table.write_text("filename\n1.5_1.wav\n2_1.wav\n")
    manifest = load_manifest({"kind": "csv", "root": table, "pattern": "{label}_{}.wav"})
    assert (manifest.task, manifest.labels) == ("single-label", ["1.5", "2"])
    table.write_text("filename,label\ns1_1.wav,dog\ns2.wav,cat\n")
    with pytest.raises(ManifestError, match=r"list.csv: dataset.pattern .* does not match 1 of 2 files: s2.wav"):
        load_manifest(options)
