"""Folders of class folders."""

import logging
import os
import sys

import pytest

from features.datasets import load_manifest
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
