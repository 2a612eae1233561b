"""Layouts of the model hub: `audiofolder`, and Parquet and Arrow files with embedded audio."""

import logging

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.audio.decoding import read_waveform
from features.datasets import load_manifest
from features.errors import ManifestError
from tests import small_layouts as small

pytestmark = pytest.mark.thorough


def load(kind, root, **options):
    return load_manifest({"kind": kind, "root": root, **options})


def columns(manifest):
    return [column for column in manifest.clips if column not in ("id", "path")]


def test_audiofolder_reads_tables_in_split_folders(tmp_path):
    manifest = load("audiofolder", small.audiofolder(tmp_path / "x"))
    assert (manifest.name, len(manifest), manifest.labels) == ("x", 12, ["dog", "siren"])
    assert manifest.clips["id"][0] == "test/audio/dog4.wav"
    assert manifest.clips["split"].value_counts().to_dict() == {"train": 8, "test": 4}
    assert set(manifest.clips["group"]) == set(small.SPEAKERS)
    assert all(map(manifest.path_of, range(12)))
    assert manifest.path_of(0).is_file()


def test_audiofolder_with_one_table_of_all_splits(tmp_path, caplog):
    root = small.audiofolder(tmp_path / "x")
    rows = []
    for table in sorted(root.glob("*/metadata.csv")):
        part = pd.read_csv(table).rename(columns={"label": "emotion"})
        rows.append(part.assign(file_name=f"{table.parent.name}/" + part["file_name"]))
        table.unlink()
    pd.concat(rows)[:-1].to_json(root / "metadata.jsonl", orient="records", lines=True)
    with caplog.at_level(logging.WARNING):
        manifest = load("audiofolder", root)
    assert len(manifest) == 11 and "split" in manifest.clips
    assert "1 audio file(s) are in no metadata table and are left out" in caplog.text


def test_audiofolder_without_a_table_reads_folders(tmp_path):
    for split in ("train", "validation", "test"):
        for label, take, _ in small.clips(2):
            small.write(tmp_path / "x" / split / label / f"{take}.wav", small.encoded(label, take))
    manifest = load("audiofolder", tmp_path / "x")
    assert manifest.clips["split"].value_counts().to_dict() == {"train": 4, "valid": 4, "test": 4}
    assert manifest.labels == ["dog", "siren"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file_name,words\na.wav,x\n", r"metadata.csv: no column that looks like the label; the columns are 'words'"),
        ("file,label\na.wav,x\n", r"metadata.csv: no column 'file_name' \(columns: 'file', 'label'\)"),
        ("file_name,label\na.wav,\n", r"metadata.csv: line 2 has no label"),
    ],
)
def test_audiofolder_names_what_a_table_lacks(tmp_path, table, message):
    (tmp_path / "metadata.csv").write_text(table)
    small.write(tmp_path / "a.wav", small.encoded("dog", 0))
    with pytest.raises(ManifestError, match=message):
        load("audiofolder", tmp_path)


def test_labels_of_an_audiofolder_can_be_numbers_or_lists(tmp_path):
    for number in range(3):
        small.write(tmp_path / f"{number}.wav", small.encoded("dog", number))
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.wav,0.5\n1.wav,2\n2.wav,3\n")
    assert load("audiofolder", tmp_path).task == "regression"
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.wav,a;b\n1.wav,b\n2.wav,a\n")
    assert load("audiofolder", tmp_path, task="multi-label").clips["label"][0] == ("a", "b")


@pytest.mark.parametrize("make", [small.parquet_dataset, small.saved_dataset])
def test_embedded_audio_is_listed_with_class_names_and_splits(tmp_path, make):
    root = make(tmp_path / "x")
    manifest = load("huggingface", root)
    assert (manifest.name, len(manifest), manifest.labels) == ("x", 12, ["dog", "siren"])
    assert manifest.clips["split"].value_counts().to_dict() == {"train": 8, "test": 4}
    assert set(manifest.clips["group"]) == set(small.SPEAKERS)
    for row, path in enumerate(manifest.clips["path"]):
        label, take = manifest.clips["label"][row], int(path.rpartition(".wav")[0][-1])
        assert path.rpartition("/")[2] == f"{label}{take}.wav"
        assert len(read_waveform(manifest.path_of(row), None).samples) == len(small.sound(label, take))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_one_file_is_a_dataset(tmp_path, suffix):
    make = small.parquet_dataset if suffix == ".parquet" else small.saved_dataset
    file = next(make(tmp_path / "x").rglob(f"*{suffix}"))
    manifest = load("huggingface", file)
    assert len(manifest) in (4, 8) and "split" not in manifest.clips
    assert len(read_waveform(manifest.path_of(0), None).samples) == 8000


def test_the_manifest_of_a_run_reads_the_same_audio(tmp_path):
    manifest = load("huggingface", small.parquet_dataset(tmp_path / "x"))
    manifest.write_csv(tmp_path / "runs" / "a" / "manifest.csv")
    again = load("csv", tmp_path / "runs" / "a" / "manifest.csv")
    assert again.clips["id"].tolist() == manifest.clips["id"].tolist()
    for row in range(len(manifest)):
        there = again.path_of(row).resolve()
        assert str(there) == str(manifest.path_of(row).resolve())
    assert len(read_waveform(again.path_of(0), None).samples) == 8000


def test_rows_without_a_label_are_left_out(tmp_path, caplog):
    table = small.audio_table()
    column = pa.array([-1, None, *table["label"].to_pylist()[2:]])
    pq.write_table(
        table.set_column(1, "label", column).replace_schema_metadata(small.features()), tmp_path / "a.parquet"
    )
    with caplog.at_level(logging.WARNING):
        assert len(load("huggingface", tmp_path)) == 10
    assert "2 of 12 rows have no label and are left out" in caplog.text


def test_rows_that_refer_to_files_are_read_from_them(tmp_path):
    for label, take, _ in small.clips(2):
        small.write(tmp_path / "wav" / f"{label}{take}.wav", small.encoded(label, take))
    rows = [
        {"audio": {"bytes": None, "path": f"wav/{label}{take}.wav"}, "label": label}
        for label, take, _ in small.clips(2)
    ]
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.Table.from_pylist(rows, pa.schema([("audio", audio), ("label", pa.string())]))
    pq.write_table(table, tmp_path / "a.parquet")
    manifest = load("huggingface", tmp_path)
    assert sorted(manifest.clips["path"])[0] == "wav/dog0.wav"
    assert manifest.path_of(0).is_file()


def test_what_a_dataset_lacks_is_named(tmp_path):
    table = small.audio_table()
    for name, made, options, message in (
        (
            "label",
            table.drop_columns(["label", "speaker_id"]),
            {},
            "no column that looks like the label; the columns are none",
        ),
        (
            "two",
            table.append_column("noise", table["audio"]),
            {},
            "2 columns hold audio .audio, noise.; set dataset.audio_col",
        ),
        ("other", table, {"audio_column": "label"}, "no audio in 'label' .*but in audio"),
        (
            "column",
            table,
            {"label_column": "x"},
            "no column 'x' .dataset.label_column.; the columns are 'label', 'speaker_id'",
        ),
        (
            "names",
            table.replace_schema_metadata(small.features(["dog"])),
            {},
            "has the class 1, but there are 1 classes",
        ),
        ("none", table.drop_columns(["audio"]), {}, "looked for Parquet or Arrow files"),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(made, tmp_path / name / "a.parquet")
        with pytest.raises(ManifestError, match=message):
            load("huggingface", tmp_path / name, **options)
    (tmp_path / "names" / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ManifestError, match=r"b.parquet: not a Parquet file"):
        load("huggingface", tmp_path / "names")


def test_a_column_that_is_no_split_is_not_used(tmp_path, caplog):
    table = small.audio_table()
    pq.write_table(table.append_column("subset", pa.array(["clean", "noisy"] * 6)), tmp_path / "a.parquet")
    with caplog.at_level(logging.WARNING):
        manifest = load("huggingface", tmp_path)
    assert "split" not in manifest.clips
    assert "the split 'clean' is none of train, valid, test, so splits are not used" in caplog.text
