"""Tables whose audio is in another folder, and several tables."""

import logging

import pytest

from features.datasets import load_manifest
from features.errors import ConfigError, ManifestError


def corpus(root, *names, **tables):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    for name, text in tables.items():
        (root / f"{name}.csv").write_text(text)
    return {"kind": "csv", "root": root / f"{next(iter(tables))}.csv"}


def paths(options, **more):
    manifest = load_manifest({**options, **more})
    assert all(manifest.path_of(row).is_file() for row in range(len(manifest)))
    return dict(zip(manifest.clips["path"], manifest.clips["label"], strict=True))


def test_audio_beside_the_table_in_a_folder_of_its_own(tmp_path, caplog):
    options = corpus(tmp_path, "audio/a.wav", "audio/b.wav", meta="filename,category\na.wav,dog\nb.wav,cat\n")
    with caplog.at_level(logging.INFO):
        assert paths(options) == {"audio/a.wav": "dog", "audio/b.wav": "cat"}
    assert "2 of 2 found by name in audio/ (2)" in caplog.text
    caplog.clear()
    manifest = load_manifest({**options, "audio_root": tmp_path / "audio"})
    assert manifest.clips["id"].tolist() == ["audio/a.wav", "audio/b.wav"] and not caplog.text


def test_names_without_folder_or_extension(tmp_path, caplog):
    options = corpus(tmp_path, "dev/100.wav", "dev/2.5.wav", meta="fname,labels\n100,a\n2.5,b\n")
    assert paths(options) == {"dev/100.wav": "a", "dev/2.5.wav": "b"}
    assert paths(options, audio_root=tmp_path / "dev", suffix=".wav") == {"dev/100.wav": "a", "dev/2.5.wav": "b"}


def test_a_suffix_replaces_that_of_other_audio(tmp_path):
    options = corpus(tmp_path, "a.wav", meta="path,label\na.mp3,x\n")
    assert paths(options, suffix=".wav") == {"a.wav": "x"}


def test_folders_and_files_found_in_both_ways_are_counted(tmp_path, caplog):
    options = corpus(tmp_path, "a.wav", "x/b.wav", "y/c.wav", meta="path,label\na.wav,1\nb.wav,2\nc.wav,2\nd.wav,1\n")
    with caplog.at_level(logging.INFO):
        manifest = load_manifest(options)
    assert manifest.clips["path"].tolist() == ["a.wav", "d.wav", "x/b.wav", "y/c.wav"]
    text = "1 of 4 files are at the paths of the table, 2 of 4 found by name in x/ (1), y/ (1), 1 not found"
    assert text in caplog.text


def test_ambiguity_is_refused(tmp_path):
    options = corpus(tmp_path, "one/a.wav", "two/a.wav", meta="path,label\na.wav,x\n")
    with pytest.raises(
        ManifestError,
        match=r"meta.csv: line 2: 'a.wav' fits 2 files below .*: one/a.wav, two/a.wav; set dataset.audio_root to .*one",
    ):
        load_manifest(options)
    assert paths(options, audio_root=tmp_path / "two") == {"two/a.wav": "x"}
    options = corpus(tmp_path / "b", "wav/a.wav", "wav/a.mp3", meta="path,label\na,x\n")
    with pytest.raises(ManifestError, match=r"set dataset\.suffix"):
        load_manifest(options)
    assert paths(options, suffix=".mp3") == {"wav/a.mp3": "x"}


def test_a_path_with_folders_is_found_by_its_last_folders(tmp_path):
    options = corpus(tmp_path, "wav/s1/a.wav", "wav/s2/a.wav", meta="path,label\n/old/s1/a.wav,x\n/old/s2/a.wav,y\n")
    assert paths(options) == {"wav/s1/a.wav": "x", "wav/s2/a.wav": "y"}


def test_a_missing_file_is_not_replaced_by_one_of_another_folder(tmp_path):
    options = corpus(tmp_path, "s1/a.wav", "s1/b.wav", meta="path,label\ns1/a.wav,x\ns2/b.wav,y\n")
    assert load_manifest(options).clips["path"].tolist() == ["s1/a.wav", "s2/b.wav"]
    options = corpus(tmp_path, "s1/a.wav", meta="path,label\ns1/a.wav,x\na.wav,y\n")
    assert load_manifest(options).clips["path"].tolist() == ["a.wav", "s1/a.wav"]


def test_an_audio_root_is_relative_to_the_working_folder_or_the_table(tmp_path, monkeypatch):
    options = corpus(tmp_path / "t", "audio/a.wav", meta="path,label\na.wav,x\n")
    assert paths(options, audio_root="audio") == {"audio/a.wav": "x"}
    corpus(tmp_path / "elsewhere", "a.wav", no="")
    monkeypatch.chdir(tmp_path)
    assert paths(options, audio_root="elsewhere") == {"../elsewhere/a.wav": "x"}
    assert load_manifest({**options, "audio_root": "elsewhere"}).clips["id"].tolist() == ["elsewhere/a.wav"]
    with pytest.raises(ManifestError, match=r"dataset.audio_root: nowhere is no folder"):
        load_manifest({**options, "audio_root": "nowhere"})
    with pytest.raises(ConfigError, match=r"dataset.suffix"):
        load_manifest({**options, "suffix": "wav"})


def test_several_tables_with_splits_from_their_names(tmp_path):
    options = corpus(
        tmp_path,
        *("dev_audio/1.wav", "dev_audio/2.wav", "eval_audio/3.wav"),
        dev="fname,labels,split\n1,a,train\n2,b,val\n",
        eval="fname,labels\n3,a\n",
    )
    manifest = load_manifest({**options, "tables": ["eval.csv"]})
    assert manifest.clips["split"].tolist() == ["train", "valid", "test"]
    assert manifest.name == "dev"
    options = corpus(tmp_path, dev="fname,labels\n1,a\n2,b\n", eval="fname,labels\n3,a\n")
    both = {**options, "tables": [tmp_path / "eval.csv"]}
    assert load_manifest(both).clips["split"].tolist() == ["train", "train", "test"]
    assert "split" not in load_manifest({**both, "split_column": False}).clips


def test_tables_that_disagree_are_refused(tmp_path, caplog):
    options = corpus(tmp_path, "a.wav", "b.wav", one="path,label\na.wav,x\nb.wav,y\n", two="path,label\nb.wav,z\n")
    with pytest.raises(
        ManifestError,
        match=r"duplicate id 'b.wav': .*one.csv line 3 and .*two.csv line 2 disagree \(label 'y' and 'z'\)",
    ):
        load_manifest({**options, "tables": ["two.csv"]})
    (tmp_path / "two.csv").write_text("path,label\nb.wav,y\n")
    with caplog.at_level(logging.WARNING):
        assert len(load_manifest({**options, "tables": ["two.csv"]})) == 2
    assert "1 row(s) repeat another" in caplog.text


def test_a_missing_second_table_is_named(tmp_path):
    options = corpus(tmp_path, "a.wav", one="path,label\na.wav,x\n")
    with pytest.raises(ManifestError, match=r"two.csv: no such manifest file"):
        load_manifest({**options, "tables": ["two.csv"]})
