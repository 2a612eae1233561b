"""Archives and files with embedded audio as arguments of `predict`."""

import io

import pyarrow.parquet as pq
import pytest

from features.errors import UserError
from pipeline.recordings.clips import find_clips
from tests import small_layouts as small


def paths(*audio):
    return find_clips([str(one) for one in audio], io.StringIO()).clips["path"].tolist()


def test_containers_are_listed_like_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.webdataset(tmp_path / "w")
    small.parquet_dataset(tmp_path / "p")
    small.saved_dataset(tmp_path / "s")
    assert len(paths("w/clips-000000.tar")) == 6
    assert paths("w")[0] == "w/clips-000000.tar::dog0.flac" and len(paths("w")) == 12
    assert paths("p")[:1] == ["p/data/test-00000-of-00001.parquet::audio/0/dog4.wav"] and len(paths("p")) == 12
    assert len(paths("s")) == 12
    assert paths("w/clips-000000.tar::dog0.flac", "w/clips-000000.tar::none.flac") == [
        "w/clips-000000.tar::dog0.flac",
        "w/clips-000000.tar::none.flac",
    ]


def test_audio_without_stored_names(tmp_path):
    table = small.audio_table().select(["audio"])
    audio = table["audio"].combine_chunks().field("bytes")
    import pyarrow as pa

    pq.write_table(pa.table({"audio": pa.StructArray.from_arrays([audio], ["bytes"])}), tmp_path / "a.parquet")
    assert paths(tmp_path / "a.parquet")[11] == f"{tmp_path}/a.parquet::audio/11"


def test_a_parquet_manifest_is_still_a_manifest(tmp_path):
    small.write(tmp_path / "a.wav", small.encoded("dog", 0))
    import pandas as pd

    pd.DataFrame({"path": ["a.wav"]}).to_parquet(tmp_path / "m.parquet")
    assert paths(tmp_path / "m.parquet") == [str(tmp_path / "a.wav")]


def test_what_is_not_there_is_one_line(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no archive" * 200)
    with pytest.raises(UserError, match=r"x.tar: x.tar cannot be read as a tar archive"):
        paths(tmp_path / "x.tar")
    with pytest.raises(UserError, match=r"none.tar::a.wav: no such file or folder"):
        paths(tmp_path / "none.tar::a.wav")
