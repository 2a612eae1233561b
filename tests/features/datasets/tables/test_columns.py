"""Columns under other names: what is read, what is asked, and segments."""

import json
import logging

import pandas as pd
import pytest

from features.datasets import load_manifest
from features.errors import ManifestError


def table(tmp_path, text, kind="csv", **options):
    path = tmp_path / f"list.{kind}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_manifest({"kind": kind, "root": path, **options})


def segments(manifest):
    return {clip: manifest.segment_of(row) for row, clip in enumerate(manifest.clips["id"])}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("path", "label", "group"),
    [("filename", "category", "speaker_id"), ("file_name", "class", "patient"), ("fname", "Label", "Participant")],
)
def test_usual_names_of_columns_are_read(tmp_path, kind, path, label, group):
    rows = pd.DataFrame([{path: "x.wav", label: "owl", group: "7"}, {path: "y.wav", label: "jay", group: "8"}])
    file = tmp_path / f"list.{kind}"
    if kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows.to_dict("records")))
    else:
        rows.to_csv(file, index=False) if kind == "csv" else rows.to_parquet(file)
    clips = load_manifest({"kind": kind, "root": file}).clips
    assert clips[["path", "label", "group"]].to_numpy().tolist() == [["x.wav", "owl", "7"], ["y.wav", "jay", "8"]]


def test_the_projects_own_name_comes_first_and_false_means_none(tmp_path):
    text = "speaker,path,class,label,group\ns,x.wav,c,l,g\n"
    assert table(tmp_path, text).clips[["label", "group"]].to_numpy().tolist() == [["l", "g"]]
    assert "group" not in table(tmp_path, text, group_column=False).clips


@pytest.mark.parametrize(("name", "role"), [("folds", "fold"), ("speaker_code", "group"), ("data_split", "split")])
def test_a_column_that_is_nearly_one_gets_a_question(tmp_path, caplog, name, role):
    with caplog.at_level(logging.WARNING):
        clips = table(tmp_path, f"path,label,{name}\nx.wav,a,1\ny.wav,b,2\n").clips
    assert list(clips) == ["id", "path", "label"]
    assert f"the column {name!r} is not used; is it the {role}" in caplog.text
    assert f"dataset.{role}_column: {name}" in caplog.text
    caplog.clear()
    table(tmp_path, f"path,label,{name}\nx.wav,a,1\ny.wav,b,2\n", **{f"{role}_column": False})
    assert not caplog.text


def test_another_name_counts_only_if_the_cells_can_have_that_meaning(tmp_path, caplog):
    text = "path,label,subset,speaker\nx.wav,a,small,s1\ny.wav,b,full,\n"
    with caplog.at_level(logging.WARNING):
        assert list(table(tmp_path, text).clips) == ["id", "path", "label"]
    assert "'subset' is not used (it holds 'small', which is none of train, valid, test)" in caplog.text
    assert "'speaker' is not used (it has 1 empty cell)" in caplog.text


def test_a_missing_column_lists_the_names_looked_for_and_asks(tmp_path):
    with pytest.raises(
        ManifestError,
        match=r"list.csv: no column 'label' \(columns: 'path', 'bird_class'\); looked for label, labels, class, .*; "
        r"did you mean 'bird_class'\?; set dataset.label_column",
    ):
        table(tmp_path, "path,bird_class\nx.wav,a\n")


@pytest.mark.parametrize(
    "text",
    [
        "path,label,start_s,duration_s\nx.wav,a,0,1.5\nx.wav,b,2.5,0.5\ny.wav,a,1,1\n",
        "path,label,start_s,end_s\nx.wav,a,0,1.5\nx.wav,b,2.5,3\ny.wav,a,1,2\n",
        "filename,event_label,onset,offset\nx.wav,a,0,1.5\nx.wav,b,2.5,3\ny.wav,a,1,2\n",
        "file;category;begin;end\nx.wav;a;0;1,5\nx.wav;b;2,5;3\ny.wav;a;1;2\n",
        "file\tlabel\tBegin Time (s)\tEnd Time (s)\nx.wav\ta\t0\t1.5\nx.wav\tb\t2.5\t3\ny.wav\ta\t1\t2\n",
    ],
)
def test_segments_need_no_id(tmp_path, text):
    manifest = table(tmp_path, text)
    assert segments(manifest) == {"x.wav@0": (0.0, 1.5), "x.wav@2.5": (2.5, 0.5), "y.wav@1": (1.0, 1.0)}
    assert manifest.clips["path"].tolist() == ["x.wav", "x.wav", "y.wav"]


def test_named_columns_of_segments(tmp_path):
    text = "path,label,from,to\nx.wav,a,0,1\ny.wav,b,1,3\n"
    manifest = table(tmp_path, text, start_column="from", end_column="to")
    assert segments(manifest) == {"x.wav": (0.0, 1.0), "y.wav": (1.0, 2.0)}
    text = "path,label,from,long\nx.wav,a,0,1\nx.wav,b,1,3\n"
    manifest = table(tmp_path, text, start_s_column="from", duration_s_column="long")  # names of earlier versions
    assert segments(manifest) == {"x.wav@0": (0.0, 1.0), "x.wav@1": (1.0, 3.0)}


def test_two_segments_with_one_start(tmp_path):
    manifest = table(tmp_path, "path,label,start_s,end_s\nx.wav,a,1,2\nx.wav,b,1,3\n")
    assert manifest.clips["id"].tolist() == ["x.wav@1+1", "x.wav@1+2"]


def test_ids_of_files_listed_once_stay_paths(tmp_path):
    assert list(segments(table(tmp_path, "path,label,start_s\nx.wav,a,1\ny.wav,b,2\n"))) == ["x.wav", "y.wav"]


def test_places_in_an_original_recording_are_no_segments(tmp_path, caplog):
    text = "slice_file_name,class,start,end,duration\nx.wav,a,10,14,4\ny.wav,b,3,7,4\n"
    with caplog.at_level(logging.WARNING):
        assert segments(table(tmp_path, text)) == {"x.wav": (0.0, None), "y.wav": (0.0, None)}
    assert "'start' is not used (the table lists every file once)" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,start_s,end_s\nx.wav,a,2,2\n", "line 2 ends at 2 s .end_s., but starts at 2 s"),
        ("path,label,start_s,end_s\nx.wav,a,2,soon\n", "line 2 has 'soon' as end_s, not a time in seconds"),
        ("path,label,start_s\nx.wav,a,2\nx.wav,b,2\n", r"line 2 and line 3 disagree \(label 'a' and 'b'\)"),
    ],
)
def test_bad_segments_name_the_line(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message) as error:
        table(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_repeated_row_is_left_out_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert table(tmp_path, "path,label\nx.wav,a\ny.wav,b\nx.wav,a\n").clips["id"].tolist() == ["x.wav", "y.wav"]
    assert "1 row(s) repeat another and are left out, first line 4" in caplog.text


def test_the_same_audio_under_two_ids_is_noted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(table(tmp_path, "id,path,label\n1,x.wav,a\n2,x.wav,b\n")) == 2
    assert "1 row(s) with an id of their own list the same audio as another row" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath;label\r\nx.wav;owl\r\n",
        b"path\tlabel\nx.wav\towl\n",
        b"path|label\nx.wav|owl\n",
        b'"path";"label"\r\n"x.wav";"owl"\r\n',
        b"sep=;\r\npath;label\r\nx.wav;owl\r\n",
        b"filename, label\nx.wav,owl\n",
    ],
)
def test_separators_byte_order_marks_and_quotes_are_found_out(tmp_path, text):
    assert table(tmp_path, text).clips[["path", "label"]].to_numpy().tolist() == [["x.wav", "owl"]]


def test_excel_quoting_stays_text(tmp_path):
    text = 'path;label;group\r\n"a;b.wav";"12"" vinyl";001\r\n"c.wav";"two\nlines";NA\r\n'
    clips = table(tmp_path, text).clips
    assert clips[["path", "label", "group"]].to_numpy().tolist() == [
        ["a;b.wav", '12" vinyl', "001"],
        ["c.wav", "two\nlines", "NA"],
    ]


@pytest.mark.parametrize("labels", [["001", "010"], ["NA", "None"], ["True", "False"], ["1e3", "2e3"], ["nan", "inf"]])
def test_labels_that_look_like_values_are_text(tmp_path, labels):
    manifest = table(tmp_path, "path,label\n" + "".join(f"{n}.wav,{label}\n" for n, label in enumerate(labels)))
    assert (manifest.task, manifest.clips["label"].tolist()) == ("single-label", labels)
    manifest.write_csv(tmp_path / "again.csv")
    assert load_manifest({"kind": "csv", "root": tmp_path / "again.csv"}).clips["label"].tolist() == labels
