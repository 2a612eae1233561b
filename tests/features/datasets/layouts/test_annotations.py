"""Recordings with Audacity labels and Raven selection tables: each label is a segment."""

import logging

import pytest

from features.datasets import load_manifest
from features.errors import ManifestError
from tests import small_layouts as small


def load(kind, root, **options):
    return load_manifest({"kind": kind, "root": root, **options})


@pytest.mark.parametrize(("kind", "make"), [("audacity", small.audacity), ("raven", small.raven)])
def test_labels_are_segments_grouped_by_recording(tmp_path, kind, make):
    manifest = load(kind, make(tmp_path / "x"))
    assert (manifest.name, len(manifest), manifest.labels) == ("x", 12, ["dog", "siren"])
    assert manifest.clips["id"].tolist()[:2] == ["ada.wav@0", "ada.wav@0.5"]
    assert set(manifest.clips["group"]) == {"ada.wav", "bob.wav", "eve.wav"}
    assert manifest.segment_of(1) == (0.5, 0.5)


def test_audacity_leaves_out_points_and_empty_labels(tmp_path, caplog):
    small.audacity(tmp_path)
    (tmp_path / "ada.txt").write_text(
        "0\t0.5\tdog\n0,5\t1,0\tdog\n1.0\t1.0\tpoint\n1.0\t1.5\t\n9\t10\tlate\n1.5\t2.5\tdog\n"
    )
    (tmp_path / "bob.txt").unlink()
    (tmp_path / "README.txt").write_text("not labels")
    with caplog.at_level(logging.WARNING):
        manifest = load("audacity", tmp_path)
    assert manifest.clips["id"].tolist()[:3] == ["ada.wav@0", "ada.wav@0.5", "ada.wav@1.5"]
    assert manifest.segment_of(2) == (1.5, 0.5)
    for line in (
        "1 annotation(s) mark a point in time and are left out, since a clip needs a length, first ada.txt line 3",
        "1 annotation(s) without a label are left out, first ada.txt line 4",
        "1 annotation(s) begin after the end of the recording and are left out, first ada.txt line 5",
        "1 annotation(s) end after the end of the recording and are cut there, first ada.txt line 6",
        "1 recording(s) have no label file and are left out, first 'bob.wav'",
    ):
        assert line in caplog.text


def test_two_labels_with_one_start_have_different_ids(tmp_path):
    small.audacity(tmp_path)
    (tmp_path / "ada.txt").write_text("0\t0.5\ta\n0\t1\tb\n0\t1\tc\n")
    ids = load("audacity", tmp_path).clips["id"].tolist()[:3]
    assert ids == ["ada.wav@0+0.5", "ada.wav@0+1", "ada.wav@0+1#2"]


@pytest.mark.parametrize("line", ["hello", "1 2 dog", "2\t1\tdog", "-1\t1\tdog", "nan\t1\tdog"])
def test_audacity_names_the_bad_line(tmp_path, line):
    small.audacity(tmp_path)
    (tmp_path / "ada.txt").write_text(f"0\t1\tdog\n{line}\n")
    with pytest.raises(ManifestError, match=r"ada.txt: line 2 is .*, expected start, end and label of Audacity"):
        load("audacity", tmp_path)


HEAD = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)"


def raven(root, name, header, *rows):
    small.recordings(root)
    (root / name).write_text("\n".join([header, *rows]) + "\n")
    return root


def test_raven_tables_of_several_files_use_the_offset_in_the_file(tmp_path):
    header = f"{HEAD}\tBegin File\tFile Offset (s)\tcall"
    rows = ("1\tSpectrogram 1\t1\t2.5\t3\tbob.wav\t0.5\ta", "2\tSpectrogram 1\t1\t0\t1\tada.wav\t0\tb")
    manifest = load("raven", raven(tmp_path, "all.txt", header, *rows))
    assert manifest.clips["path"].tolist() == ["ada.wav", "bob.wav"]
    assert manifest.segment_of(1) == (0.5, 0.5) and manifest.labels == ["a", "b"]


def test_raven_rows_beyond_the_end_are_one_line_each(tmp_path, caplog):
    rows = [
        f"{n}\tSpectrogram 1\t1\t{start}\t{end}\tx"
        for n, start, end in ((1, 0, 1), (2, 1.5, 2.5), (3, 2, 3), (4, 7, 8))
    ]
    with caplog.at_level(logging.WARNING):
        manifest = load("raven", raven(tmp_path, "ada.selections.txt", f"{HEAD}\tSpecies", *rows))
    assert [manifest.segment_of(row) for row in range(2)] == [(0, 1), (1.5, 0.5)]
    lines = [record.getMessage() for record in caplog.records]
    assert any(
        "1 annotation(s) end after the end of the recording and are cut there, first ada" in line for line in lines
    )
    assert any(
        "2 annotation(s) begin after the end of the recording and are left out, first ada" in line for line in lines
    )


@pytest.mark.parametrize(
    ("name", "header", "row", "message"),
    [
        (
            "ada.txt",
            HEAD,
            "1\tW\t1\t0\t1",
            r"ada.txt: no column that looks like the label; the columns are 'Selection'",
        ),
        ("ada.txt", f"{HEAD}\tcall\tage", "1\tW\t1\t0\t1\tx\t3", r"no column that looks like the label.*'call', 'age'"),
        ("ada.txt", f"{HEAD}\tcall", "1\tW\t1\tx\t1\tx", r"ada.txt: line 2: Begin Time .* is not a number"),
        ("zoe.txt", f"{HEAD}\tcall", "1\tW\t1\t0\t1\tx", r"no recording is called 'zoe'"),
        (
            "a.txt",
            f"{HEAD}\tBegin File\tcall",
            "1\tW\t1\t0\t1\tx\\zoe.wav\tx",
            r"line 2: no recording is called 'zoe.wav'",
        ),
    ],
)
def test_raven_names_what_is_wrong(tmp_path, name, header, row, message):
    with pytest.raises(ManifestError, match=message):
        load("raven", raven(tmp_path, name, header, row))


def test_a_given_label_column_of_raven(tmp_path):
    root = raven(tmp_path, "ada.txt", f"{HEAD}\tcall\tage", "1\tW\t1\t0\t1\tx\told")
    assert load("raven", root, label_column="age").labels == ["old"]
    with pytest.raises(ManifestError, match=r"no column 'agee' .dataset.label_column."):
        load("raven", root, label_column="agee")
