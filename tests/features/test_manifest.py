"""Manifest: valid and invalid tables, and a round trip through CSV."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.datasets import load_manifest
from features.errors import ManifestError
from features.manifest import Manifest


def manifest(root: Path = Path("data"), **columns: list) -> Manifest:
    n = len(next(iter(columns.values()))) if columns else 2
    table = {"id": [f"{i}" for i in range(n)], "path": [f"{i}.wav" for i in range(n)], "label": ["a"] * n}
    return Manifest("birds", root, pd.DataFrame({**table, **columns}))


def test_ids_and_labels_become_text_and_labels_are_sorted():
    clips = manifest(id=[1, 2, 3], label=[10, 2, 10])
    assert clips.clips["id"].tolist() == ["1", "2", "3"]
    assert clips.labels == ["10", "2"]
    assert len(clips) == 3


def test_categorical_labels_become_plain_text():
    clips = Manifest("x", Path(), pd.DataFrame({"id": ["a"], "path": ["a"], "label": pd.Categorical([7])}))
    assert clips.clips["label"].tolist() == ["7"]


def test_unknown_columns_are_dropped_and_empty_optional_ones_too():
    clips = manifest(camera=["x", "y"], fold=[None, None])
    assert list(clips.clips) == ["id", "path", "label"]


@pytest.mark.parametrize("written", [["1", "10"], [1, 10], [1.0, 10.0], ["1.0", "10.0"]])
def test_whole_folds_are_numbers_however_written(written):
    assert manifest(fold=written).clips["fold"].tolist() == [1, 10]


def test_named_folds_stay_text():
    assert manifest(fold=["A", "1"]).clips["fold"].tolist() == ["A", "1"]


def test_split_aliases_are_read():
    clips = manifest(split=["train", "Val", "validation", "dev", " TEST "])
    assert clips.clips["split"].tolist() == ["train", "valid", "valid", "valid", "test"]


def test_unknown_split_names_split_and_clip():
    with pytest.raises(ManifestError, match=r"unknown split 'held-out' of '1'; use train, valid, test"):
        manifest(split=["train", "held-out"])


@pytest.mark.parametrize("column", ["id", "path", "label", "fold", "split", "group"])
@pytest.mark.parametrize("empty", [None, float("nan"), "", "  ", pd.NA])
def test_an_empty_cell_is_named(column, empty):
    with pytest.raises(ManifestError, match=f"birds: row 2 has no {column}"):
        manifest(**{column: pd.Series(["train", empty], dtype=object)})


def test_a_missing_column_lists_those_there_are():
    with pytest.raises(ManifestError, match=r"no column 'label' \(columns: id, path\)"):
        Manifest("x", Path(), pd.DataFrame({"id": ["a"], "path": ["a"]}))


def test_a_label_column_without_a_single_label():
    with pytest.raises(ManifestError, match="row 1 has no label"):
        manifest(label=[None, None])


def test_no_clips():
    with pytest.raises(ManifestError, match="no clips"):
        Manifest("x", Path(), pd.DataFrame({"id": [], "path": [], "label": []}))


def test_duplicate_ids_are_counted():
    with pytest.raises(ManifestError, match=r"1 duplicate id\(s\), first 'a'"):
        manifest(id=["a", "a", "a", "b"])


@pytest.mark.parametrize("text", ["a\udcff", "a\0b"])
def test_text_that_no_file_can_hold_is_refused(text):
    with pytest.raises(ManifestError, match=r"row 2 has the id .* not UTF-8"):
        manifest(id=pd.Series(["a", text], dtype=object))


@pytest.mark.parametrize(
    ("column", "value"), [("start_s", -1), ("start_s", "x"), ("duration_s", 0), ("duration_s", "inf")]
)
def test_impossible_segments_name_the_clip(column, value):
    with pytest.raises(ManifestError, match=f"{column} of '1' is '?{value}'?"):
        manifest(**{column: pd.Series(["1", value], dtype=object)})


def test_segments_and_paths_of_rows():
    clips = manifest(start_s=[None, "2.5"], duration_s=[0.5, None], path=["a b.wav", "/elsewhere/é.wav"])
    assert [clips.segment_of(row) for row in (0, 1)] == [(0.0, 0.5), (2.5, None)]
    assert [clips.path_of(row) for row in (0, 1)] == [Path("data/a b.wav"), Path("/elsewhere/é.wav")]
    assert manifest().segment_of(0) == (0.0, None)


def test_a_written_manifest_points_to_the_same_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = tmp_path / "data" / "corpus"
    corpus.mkdir(parents=True)
    (corpus / "0.wav").write_bytes(b"sound")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "elsewhere")
    clips = manifest(Path("data/corpus"))
    clips.write_csv(Path("runs/new/manifest.csv"))
    read = load_manifest({"kind": "csv", "root": "runs/new/manifest.csv"})
    assert read.path_of(0).read_bytes() == b"sound"
    assert read.clips["id"].tolist() == clips.clips["id"].tolist()


def test_a_lone_carriage_return_survives_csv(tmp_path):
    """Found by hypothesis: if unquoted, csv readers treat it as the end of a line."""
    clips = pd.DataFrame({"id": ["a", "b"], "path": ["a.wav", "b.wav"], "label": ["x\ry", "\rz"], "fold": ["0\r", "1"]})
    written = Manifest("x", tmp_path, clips)
    written.write_csv(tmp_path / "x.csv")
    pd.testing.assert_frame_equal(load_manifest({"kind": "csv", "root": tmp_path / "x.csv"}).clips, written.clips)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
seconds = st.floats(0.001, 1e6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ids=st.lists(text, min_size=1, max_size=6, unique=True))
def test_csv_round_trip(tmp_path, data, ids):
    def column(values):
        return st.none() | st.lists(values, min_size=len(ids), max_size=len(ids))

    kinds = {
        "fold": st.integers(0, 99) | text,
        "split": st.sampled_from(["train", "valid", "test"]),
        "group": text,
        "start_s": seconds,
        "duration_s": seconds | st.none(),
    }
    optional = {name: data.draw(column(values), label=name) for name, values in kinds.items()}
    labels = data.draw(st.lists(text, min_size=len(ids), max_size=len(ids)), label="labels")
    table = {
        "id": sorted(ids),
        "path": [f"a b/é{i}.wav" for i in range(len(ids))],
        "label": labels,
        **{name: pd.Series(values, dtype=object) for name, values in optional.items() if values is not None},
    }
    written = Manifest("x", tmp_path, pd.DataFrame(table))
    written.write_csv(tmp_path / "x.csv")
    read = load_manifest({"kind": "csv", "root": tmp_path / "x.csv"})
    pd.testing.assert_frame_equal(read.clips, written.clips)
    assert (read.name, read.root) == ("x", tmp_path)
