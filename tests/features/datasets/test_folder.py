"""Folders of class folders."""

import logging
import os
import sys

import numpy as np
import pytest
import soundfile

from features.audio.decoding import probe
from features.datasets import load_manifest
from features.datasets.listing import listed_once
from features.errors import ManifestError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def ids(root, **options):
    return load_manifest({"kind": "folder", "root": root, **options}).clips["id"].tolist()


def test_classes_are_the_first_folders_and_clips_may_be_nested(tmp_path):
    root = tmp_path / "My birds"
    touch(root, "Große Ente/b c.WAV", "Große Ente/2021/März/a.flac", "ara/x.mp3", "README.txt", "ara/notes.txt")
    manifest = load_manifest({"kind": "folder", "root": root})
    assert manifest.name == "My birds"
    assert dict(zip(manifest.clips["id"], manifest.clips["label"], strict=True)) == {
        "Große Ente/2021/März/a.flac": "Große Ente",
        "Große Ente/b c.WAV": "Große Ente",
        "ara/x.mp3": "ara",
    }
    assert manifest.clips["id"].tolist() == sorted(manifest.clips["id"])
    assert all(manifest.path_of(row).is_file() for row in range(len(manifest)))


def test_hidden_entries_are_left_out(tmp_path):
    touch(tmp_path, "a/x.wav", "a/._x.wav", "a/.trash/y.wav", ".git/z.wav", "__MACOSX/a/x.wav")
    assert ids(tmp_path) == ["a/x.wav"]


def test_what_looks_like_audio_is_listed_even_if_unreadable(tmp_path):
    touch(tmp_path, "a/good.wav", "b/folder.wav/inside.wav")
    (tmp_path / "a" / "gone.ogg").symlink_to(tmp_path / "nowhere.ogg")
    assert ids(tmp_path) == ["a/gone.ogg", "a/good.wav", "b/folder.wav"]


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "far/x.wav", "root/b/y.wav")
    (tmp_path / "root" / "a").symlink_to(tmp_path / "far")
    (tmp_path / "root" / "b" / "again").symlink_to(tmp_path / "root" / "b")
    assert ids(tmp_path / "root") == ["a/x.wav", "b/y.wav"]


def test_the_name_of_the_working_directory(tmp_path, monkeypatch):
    touch(tmp_path / "birds", "a/x.wav")
    monkeypatch.chdir(tmp_path / "birds")
    assert load_manifest({"kind": "folder", "root": "."}).name == "birds"
    assert load_manifest({"kind": "folder", "root": ".", "name": "other"}).name == "other"


def test_home_in_the_root_is_expanded(tmp_path, monkeypatch):
    touch(tmp_path / "birds", "a/x.wav")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ids("~/birds") == ["a/x.wav"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are not text")
def test_a_file_name_that_is_not_text_is_shown(tmp_path):
    touch(tmp_path, "a/x.wav", os.fsdecode(b"a/\xff.wav"))
    with pytest.raises(ManifestError, match=r"row 2 has the id 'a/\\udcff.wav', which is not UTF-8 text"):
        ids(tmp_path)


def test_splits_are_not_taken_for_classes(tmp_path):
    touch(tmp_path, "train/dog/x.wav", "test/dog/y.wav")
    with pytest.raises(ManifestError, match="found the splits test, train"):
        ids(tmp_path)


def test_clips_without_a_class_folder_are_reported(tmp_path, caplog):
    touch(tmp_path, "a/x.wav", "loose.wav", "README.md")
    with caplog.at_level(logging.WARNING):
        assert ids(tmp_path) == ["a/x.wav"]
    assert "ignored 1 audio file(s) outside the class folders" in caplog.text
    assert "loose.wav" in caplog.text


def test_a_file_is_not_a_folder(tmp_path):
    touch(tmp_path, "x.wav")
    with pytest.raises(ManifestError, match="is not a folder"):
        ids(tmp_path / "x.wav")


def test_folders_of_network_storage_are_no_classes(tmp_path):
    touch(tmp_path, "a/x.wav", "a/@eaDir/x.wav/SYNO.wav", "@eaDir/a/x.wav", "#recycle/y.wav", "lost+found/z.wav")
    assert ids(tmp_path) == ["a/x.wav"]


@pytest.mark.parametrize("target", ["root", "."])
def test_a_link_to_a_folder_above_brings_no_clip_in_again(tmp_path, caplog, target):
    touch(tmp_path, "root/a/x.wav", "root/b/y.wav")
    (tmp_path / "root" / "b" / "all").symlink_to(tmp_path / target)
    with caplog.at_level(logging.INFO):
        assert ids(tmp_path / "root") == ["a/x.wav", "b/y.wav"]
    assert caplog.text.count("b/all: this link to a folder above it is not followed") == 1


@pytest.mark.parametrize("target", ["root", "."])
def test_a_link_to_the_root_is_no_class(tmp_path, caplog, target):
    touch(tmp_path, "root/a/x.wav", "root/b/y.wav")
    (tmp_path / "root" / "all").symlink_to(tmp_path / target)
    with caplog.at_level(logging.INFO):
        assert ids(tmp_path / "root") == ["a/x.wav", "b/y.wav"]
    assert caplog.text.count("root/all: this link to a folder above it is not followed") == 1


def test_what_is_left_out_is_counted_and_named(tmp_path, caplog):
    touch(tmp_path, "a/x.wav", "a/x.amr", "a/y.AMR", "a/clip.mp4", "a/notes.txt", "b/z.amr", "c/1.sph", "d/1.bwf")
    with caplog.at_level(logging.WARNING):
        assert ids(tmp_path) == ["a/x.wav", "c/1.sph", "d/1.bwf"]
    assert "left out 3 .amr files, 1 .mp4 file, by suffix not audio (known: .wav" in caplog.text
    assert "no audio file in 1 of 4 folders: 'b'" in caplog.text
    (tmp_path / "only").mkdir()
    touch(tmp_path / "only", "a/x.amr")
    with pytest.raises(ManifestError, match=r"looked for class folders with audio files .*, found 1 .amr file"):
        ids(tmp_path / "only")


@pytest.mark.parametrize(("suffix", "format"), [("bwf", "WAV"), ("sph", "NIST"), ("voc", "VOC"), ("mp2", "MP3")])
def test_less_usual_suffixes_are_read(tmp_path, suffix, format):
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / f"x.{suffix}", np.zeros(8000), 16_000, format=format)
    manifest = load_manifest({"kind": "folder", "root": tmp_path})
    assert probe(manifest.path_of(0)).sample_rate == 16_000


def test_readers_within_a_block_list_each_folder_once(tmp_path, monkeypatch):
    touch(tmp_path, "a/x.wav", "b/c/y.wav")
    seen = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (seen.append(str(path)), scan(path))[1])
    with listed_once():
        assert ids(tmp_path) == ids(tmp_path) == ["a/x.wav", "b/c/y.wav"]
    assert sorted(seen) == sorted({*seen}) and len(seen) == 4
    touch(tmp_path, "a/z.wav")
    assert ids(tmp_path) == ["a/x.wav", "a/z.wav", "b/c/y.wav"]  # nothing is kept beyond the block
