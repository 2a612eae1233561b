"""Kaldi data folders and WebDataset archives."""

import logging
import tarfile

import pytest

from features.audio.decoding import read_waveform
from features.datasets import load_manifest
from features.errors import ManifestError
from tests import small_layouts as small


def load(kind, root, **options):
    return load_manifest({"kind": kind, "root": root, **options})


def test_kaldi_lists_utterances_with_speakers(tmp_path):
    manifest = load("kaldi", small.kaldi(tmp_path))
    assert (manifest.name, len(manifest), manifest.labels) == ("all", 12, ["dog", "siren"])
    assert manifest.clips["id"][0] == "ada-dog0"
    assert set(manifest.clips["group"]) == set(small.SPEAKERS)
    assert all(manifest.path_of(row).is_file() for row in range(12))


def test_kaldi_paths_below_the_working_folder(tmp_path, monkeypatch):
    folder = small.kaldi(tmp_path)
    listed = (folder / "wav.scp").read_text().replace("../../", "")
    (folder / "wav.scp").write_text(listed)
    assert not load("kaldi", folder).path_of(0).is_file()
    monkeypatch.chdir(tmp_path)
    assert load("kaldi", folder).path_of(0).is_file()


def test_kaldi_splits_and_segments(tmp_path):
    small.kaldi(tmp_path)
    for split in ("train", "test_clean"):
        folder = tmp_path / "data" / split
        folder.mkdir()
        (folder / "wav.scp").write_text("rec1 ../../wav/ada-dog0.wav\nrec2 ../../wav/bob-dog1.wav\n")
        (folder / "segments").write_text(f"{split}-1 rec1 0.1 0.35\n{split}-2 rec2 0.25 -1\n")
        (folder / "utt2label").write_text(f"{split}-1 a b\n{split}-2 c\n")
        (folder / "utt2spk").write_text(f"{split}-1 {split}-1\n{split}-2 {split}-2\n")
    for name in ("wav.scp", "utt2spk", "text"):
        (tmp_path / "data" / "all" / name).unlink()
    manifest = load("kaldi", tmp_path)
    assert manifest.clips["split"].tolist() == ["test", "test", "train", "train"]
    assert manifest.labels == ["a b", "c"] and "group" not in manifest.clips
    assert manifest.segment_of(0) == (0.1, 0.25) and manifest.segment_of(1) == (0.25, None)
    assert len(read_waveform(manifest.path_of(1), None, *manifest.segment_of(1)).samples) == 4000


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "wav.scp",
            "a sox x.mp3 -t wav - |\n",
            r"wav.scp: line 1: 'a' is the command 'sox x.mp3 .*commands are not run",
        ),
        ("wav.scp", "a x.ark:2345\n", r"'a' is 'x.ark:2345', not an audio file"),
        ("wav.scp", "a\n", r"line 1 has no path after 'a'"),
        ("wav.scp", "a x.wav\na y.wav\n", r"line 2 has 'a' a second time"),
        ("wav.scp", "a x.wav\n", r"no utterance of wav.scp or segments has a label in text"),
        ("segments", "u ada-dog0 0.5\n", r"segments: line 1 is 'u ada-dog0 0.5', expected utterance, recording, start"),
        ("segments", "u nobody 0 1\n", r"the recording 'nobody' is not in wav.scp"),
        ("segments", "u ada-dog0 2 1\n", r"'u' ends at 1 s, but starts at 2 s"),
    ],
)
def test_kaldi_names_the_bad_line(tmp_path, file, content, message):
    folder = small.kaldi(tmp_path)
    (folder / file).write_text(content)
    with pytest.raises(ManifestError, match=message) as error:
        load("kaldi", folder)
    assert "\n" not in str(error.value)


def test_kaldi_without_labels_lists_the_files(tmp_path, caplog):
    folder = small.kaldi(tmp_path)
    lines = (folder / "text").read_text().splitlines()
    (folder / "utt2lang").write_text("\n".join(lines[1:]) + "\n")
    (folder / "text").unlink()
    with pytest.raises(
        ManifestError, match=r"no labels, looked for utt2label and text; the files are utt2lang, utt2spk, w"
    ):
        load("kaldi", folder)
    with caplog.at_level(logging.WARNING):
        assert len(load("kaldi", folder, labels="utt2lang")) == 11
    assert "1 of 12 utterances have no label and are left out, first 'ada-dog0'" in caplog.text


def test_webdataset_lists_all_archives(tmp_path):
    manifest = load("webdataset", small.webdataset(tmp_path / "x"))
    assert (manifest.name, len(manifest), manifest.labels) == ("x", 12, ["dog", "siren"])
    assert manifest.clips["id"][0] == "clips-000000.tar::dog0.flac"
    assert set(manifest.clips["group"]) == set(small.SPEAKERS)
    assert len(read_waveform(manifest.path_of(0), None).samples) == 8000
    alone = load("webdataset", tmp_path / "x" / "clips-000001.tar")
    assert len(alone) == 6 and alone.path_of(0).parent.name == "x"


def make(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            small.add(archive, name, content)


def test_webdataset_labels_and_splits(tmp_path, caplog):
    wav = small.encoded("dog", 0)
    make(tmp_path / "train-000.tar", {"a.wav": wav, "a.cls": b"3\n", "a.json": b'{"label": "x"}'})
    make(
        tmp_path / "test-000.tar",
        {"b/a.wav": wav, "b/a.txt": b"crow", "inner.tar": b"x", "more.zip": b"x", "._c.wav": b"x"},
    )
    with caplog.at_level(logging.WARNING):
        manifest = load("webdataset", tmp_path)
    assert manifest.clips["label"].tolist() == ["crow", "3"] and manifest.clips["split"].tolist() == ["test", "train"]
    assert "left out 2 archive(s) inside the archive, first 'inner.tar'" in caplog.text
    (tmp_path / "test-000.tar").unlink()
    assert load("webdataset", tmp_path, label_column="label").labels == ["x"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.cls": b"1"}, r"looked for tar archives"),
        ({"a.wav": b"x"}, r"x.tar: 'a' has no label, looked for a.cls, a.json, a.txt"),
        ({"a.wav": b"x", "a.flac": b"x", "a.cls": b"1"}, r"'a' has 2 audio files"),
        ({"a.wav": b"x", "a.json": b"{"}, r"x.tar: a.json is not JSON"),
        (
            {"a.wav": b"x", "a.json": b'{"words": "x"}'},
            r"a.json: no column that looks like the label; the columns are 'words'",
        ),
        ({"a.wav": b"x", "a.cls": b"\xff\xfe"}, r"a.cls is not UTF-8"),
    ],
)
def test_webdataset_names_what_is_wrong(tmp_path, members, message):
    make(tmp_path / "x.tar", members)
    with pytest.raises(ManifestError, match=message):
        load("webdataset", tmp_path)


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(ManifestError, match=r"x.tar: x.tar cannot be read as a tar archive"):
        load("webdataset", tmp_path)
