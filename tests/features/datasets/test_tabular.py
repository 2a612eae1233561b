"""Manifests written by users: CSV, JSON Lines, Parquet."""

import json
import os

import pandas as pd
import pytest

from features.datasets import load_manifest
from features.errors import ManifestError

ODD_LABELS = ["001", "NA", "null", "None", "nan", "1e3", "TRUE", " padded ", '12" vinyl', "a,b", "ñ"]


def write(tmp_path, kind, rows):
    path = tmp_path / f"list.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        table = pd.DataFrame(rows)
        table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    return {"kind": kind, "root": path}


def csv(tmp_path, text, **options):
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_manifest({"kind": "csv", "root": path, **options})


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_three_kinds_read_the_same(tmp_path, kind):
    rows = [
        {"path": "b/x.wav", "label": 7, "fold": 2, "split": "val", "group": 12, "start_s": 1.5, "duration_s": 2.0},
        {"path": "a/é .wav", "label": 8, "fold": 10, "split": "train", "group": 7, "start_s": 0.0, "duration_s": None},
    ]
    manifest = load_manifest(write(tmp_path, kind, rows))
    assert (manifest.name, manifest.root) == ("list", tmp_path)
    clips = manifest.clips
    assert clips["id"].tolist() == ["a/é .wav", "b/x.wav"]
    assert clips["label"].tolist() == ["8", "7"]
    assert clips["fold"].tolist() == [10, 2]
    assert clips["split"].tolist() == ["train", "valid"]
    assert clips["group"].tolist() == ["7", "12"]
    assert [manifest.segment_of(row) for row in (0, 1)] == [(0.0, None), (1.5, 2.0)]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_text_stays_as_it_is_written(tmp_path, kind):
    rows = [{"id": label, "path": f"{i}.wav", "label": label} for i, label in enumerate(ODD_LABELS)]
    clips = load_manifest(write(tmp_path, kind, rows)).clips
    assert clips["id"].tolist() == sorted(ODD_LABELS)
    assert clips["label"].tolist() == sorted(ODD_LABELS)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_can_have_other_names(tmp_path, kind):
    options = write(tmp_path, kind, [{"file": "x.wav", "species": "owl", "label": "?", "site": "north", "n": "clip 1"}])
    names = {"path_column": "file", "label_column": "species", "group_column": "site", "id_column": "n"}
    row = load_manifest({**options, **names}).clips.iloc[0].to_dict()
    assert row == {"id": "clip 1", "path": "x.wav", "label": "owl", "group": "north"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_missing_column_lists_those_there_are_and_how_to_name_another(tmp_path, kind):
    options = write(tmp_path, kind, [{"path": "x.wav", "bird": "owl"}])
    with pytest.raises(
        ManifestError,
        match=r"no column 'label' \(columns: 'path', 'bird'\); looked for label, .*; set dataset.label_column",
    ):
        load_manifest(options)
    with pytest.raises(ManifestError, match="no column 'site'"):
        load_manifest({**options, "label_column": "bird", "group_column": "site"})


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    clips = csv(tmp_path, b"\xef\xbb\xbfpath,label\r\nx.wav,owl\r\n").clips
    assert clips[["id", "label"]].to_numpy().tolist() == [["x.wav", "owl"]]


def test_windows_separators_become_slashes(tmp_path):
    assert csv(tmp_path, "path,label\nsub\\dir\\x.wav,a\n./sub//y.wav,a\n").clips["id"].tolist() == [
        "sub/dir/x.wav",
        "sub/y.wav",
    ]


@pytest.mark.skipif(os.name == "nt", reason="a backslash is a separator there")
def test_a_backslash_in_an_existing_name_stays(tmp_path):
    (tmp_path / "odd\\name.wav").write_bytes(b"x")
    manifest = csv(tmp_path, "path,label\nodd\\name.wav,a\n")
    assert manifest.path_of(0).read_bytes() == b"x"


def test_absolute_paths_inside_the_folder_have_relative_ids(tmp_path):
    manifest = csv(tmp_path, f"path,label\n{tmp_path}/sub/x.wav,a\n/far/away.wav,b\n")
    assert manifest.clips["id"].tolist() == ["/far/away.wav", "sub/x.wav"]
    assert manifest.path_of(1) == tmp_path / "sub" / "x.wav"


def test_rows_come_sorted_by_id_whatever_their_order(tmp_path):
    one = csv(tmp_path, "path,label\nb.wav,2\na.wav,1\nc.wav,3\n")
    other = csv(tmp_path, "path,label\nc.wav,3\na.wav,1\nb.wav,2\n")
    pd.testing.assert_frame_equal(one.clips, other.clips)


def test_separators(tmp_path):
    assert csv(tmp_path, "path;label\nx.wav;a,b\n", separator=";").labels == ["a,b"]
    (tmp_path / "list.tsv").write_text("path\tlabel\nx.wav\ta,b\n")
    assert load_manifest({"kind": "csv", "root": tmp_path / "list.tsv"}).labels == ["a,b"]


def test_blank_optional_columns_are_as_good_as_none(tmp_path):
    assert list(csv(tmp_path, "path,label,fold,group,,\nx.wav,a,,,,\n").clips) == ["id", "path", "label"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nx.wav,a\ny.wav,\n", "line 3 has no label"),
        ("path,label\nx.wav,a\n\n,b\n", "line 4 has no path"),
        ("path,label\nx.wav,a\ny.wav,b,c\n", "line 3 has more cells than the header"),
        ("path,label\nx.wav\n", "line 2 has no label"),
        ('path,label\n"x.wav,a\n', "is not CSV"),
        ("path,label,label\nx.wav,a,b\n", "2 columns are named 'label'"),
        ("path,label\nx.wav,a\nx.wav,b\n", r"duplicate id 'x.wav': line 2 and line 3 disagree \(label 'a' and 'b'\)"),
        ("path,label,fold\nx.wav,a,1\ny.wav,b,\n", "has no fold"),
        ("", r"no column 'path' \(columns: none\)"),
        ("path,label\n", "no clips"),
        ("path,label\nx.wav,Füchse\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_errors_in_a_csv_are_one_line_with_the_line_number(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message) as error:
        csv(tmp_path, text)
    assert "\n" not in str(error.value)
    assert "list" in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": "y.wav", "label"', "line 3 is not JSON"),
        ('["y.wav", "a"]', "line 3 is .*not a JSON object"),
        ('{"path": "y.wav"}', "line 3 has no label"),
        ('{"path": "y.wav", "label": null}', "line 3 has no label"),
        ('{"path": "y.wav", "label": NaN}', "line 3 has no label"),
        ('{"path": "y.wav", "label": ["a"]}', r"line 3 has the label \['a'\]"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    path = tmp_path / "list.jsonl"
    path.write_text('{"path": "x.wav", "label": "a"}\n\n' + line + "\n")
    with pytest.raises(ManifestError, match=message):
        load_manifest({"kind": "jsonl", "root": path})


def test_json_numbers_keep_their_form(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_text('\ufeff{"path": "x.wav", "label": 1}\n{"path": "y.wav", "label": 2.5, "group": 3}\n', "utf-8")
    with pytest.raises(ManifestError, match="no group"):
        load_manifest({"kind": "jsonl", "root": path})
    path.write_text('{"path": "x.wav", "label": 1}\n{"path": "y.wav", "label": "2.5"}\n')
    assert load_manifest({"kind": "jsonl", "root": path}).labels == ["1", "2.5"]


def test_a_parquet_index_can_hold_the_ids(tmp_path):
    table = pd.DataFrame({"id": ["one"], "path": ["x.wav"], "label": ["a"]}).set_index("id")
    table.to_parquet(tmp_path / "list.parquet")
    assert load_manifest({"kind": "parquet", "root": tmp_path / "list.parquet"}).clips["id"].tolist() == ["one"]


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "list.parquet").write_text("path,label\n")
    with pytest.raises(ManifestError, match="not a Parquet file") as error:
        load_manifest({"kind": "parquet", "root": tmp_path / "list.parquet"})
    assert "\n" not in str(error.value)


def test_a_folder_is_no_manifest_file(tmp_path):
    with pytest.raises(ManifestError, match="is a folder, not a manifest file"):
        load_manifest({"kind": "csv", "root": tmp_path})
