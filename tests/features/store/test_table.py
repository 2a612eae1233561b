"""Cache files are written atomically and read back by id unchanged."""

import json
import resource
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from features.errors import CacheError, RunError
from features.store import fingerprint as fp
from features.store import hdf5_file as checked_file
from features.store import layered
from features.store.iterate import stream
from features.store.table import open_table
from features.store.verify import verify_table
from features.store.writer import Totals, write_file
from tests import processes
from tests.features.tables import BACKBONE, FRAMES_SPEC, SPEC, rows, write


def test_what_is_written_is_read(tmp_path):
    made = rows("a", "ä b/日本.wav", failures=[("c", "", "file not found – weg")])
    table = verify_table(write(tmp_path / "x" / "t.h5", made))
    assert (table.ids.tolist(), table.keys.tolist()) == (made.ids, made.keys)
    assert table.durations_s.tolist() == [1.5, 2.5]
    assert table.n_frames.tolist() == [1, 2]
    assert table.failures == {"c": ("", "file not found – weg")}
    assert (table.spec, table.fingerprint, table.poolings) == (BACKBONE, fp.fingerprint(SPEC), ["mean", "std"])
    assert len(table) == 2
    for method in ("mean", "std"):
        values = table.embeddings(method)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, made.pooled[method])
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["t.h5"]


@pytest.mark.parametrize("chunk_bytes", [1, 40, 1 << 20])
def test_one_layer_is_that_of_all_and_is_verified(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr(layered, "CHUNK_BYTES", chunk_bytes)
    made = rows("a", "b", "c", "d", "e")
    table = open_table(write(tmp_path / "t.h5", made))
    with h5py.File(table.path) as file:
        assert file["embeddings/std"].chunks == (max(1, min(5, chunk_bytes // 16)), 1, 4)
    for at in range(len(table.spec.layers)):
        np.testing.assert_array_equal(table.layer("std", at), made.pooled["std"][:, at])
        for some in ([3, 0, 3], [4], []):
            chosen = np.array(some, np.int64)
            np.testing.assert_array_equal(table.layer("std", at, chosen), made.pooled["std"][chosen, at])
    with pytest.raises(CacheError, match="holds no pooling 'max'"):
        table.layer("max", 0)


def test_only_the_layer_that_is_read_is_verified(tmp_path):
    table = open_table(write(tmp_path / "t.h5", rows("a", "b", "c")))
    with h5py.File(table.path, "r+") as file:
        file["embeddings/std"][1, -1, 0] += 1
    assert len(table.layer("std", 0)) == 3
    for read in (lambda: table.layer("std", 1), lambda: table.layer("std", 1, np.array([0]))):
        with pytest.raises(CacheError, match="layer 1 of embeddings/std does not match its checksum"):
            read()
    with pytest.raises(CacheError, match="layer 1 of embeddings/std does not match its checksum"):
        table.embeddings("std")


def test_a_table_whose_file_is_replaced_is_not_read_as_if_it_were_the_same(tmp_path):
    table = open_table(write(tmp_path / "t.h5", rows("a", "b", "c")))
    write(tmp_path / "t.h5", rows("c", "b", "a"))
    with pytest.raises(CacheError, match="another run replaced it while it was read; run again"):
        table.layer("std", 0)


def test_float16_vectors_are_read_as_float32(tmp_path):
    made = rows("a", "b", "c")
    spec = fp.cache_spec(BACKBONE, ["mean", "std"], dtype="float16")
    table = verify_table(write(tmp_path / "t.h5", made, spec))
    with h5py.File(table.path) as file:
        assert file["embeddings/mean"].dtype == np.float16
    expected = made.pooled["mean"].astype(np.float16).astype(np.float32)
    assert table.embeddings("mean").dtype == table.layer("mean", 1).dtype == np.float32
    np.testing.assert_array_equal(table.embeddings("mean"), expected)
    np.testing.assert_array_equal(table.layer("mean", 1), expected[:, 1])
    (chunk,) = stream(table, np.arange(3), ["mean"])
    assert chunk.pooled["mean"].dtype == np.float32
    np.testing.assert_array_equal(chunk.pooled["mean"], expected)


def test_frames_come_back_ragged(tmp_path):
    made = rows("a", "b", "c", spec=FRAMES_SPEC)
    table = verify_table(write(tmp_path / "t.h5", made, FRAMES_SPEC))
    for clip, frames in zip(made.ids, made.frames, strict=True):
        assert table.frames(clip).dtype == np.float16
        np.testing.assert_array_equal(table.frames(clip), frames)
    with pytest.raises(CacheError, match="holds no frames"):
        verify_table(write(tmp_path / "u.h5", rows("a"))).frames("a")


def test_the_layout_is_the_documented_one(tmp_path):
    with h5py.File(write(tmp_path / "t.h5", rows("a", failures=[("b", "k", "r")]))) as file:
        names = []
        file.visit(names.append)
        assert {n for n in names if isinstance(file[n], h5py.Dataset)} == {
            *(f"clips/{n}" for n in ("id", "key", "duration_s", "n_frames")),
            *(f"failures/{n}" for n in ("id", "key", "reason")),
            *(f"{group}/{n}" for group in ("embeddings", "checksums") for n in ("mean", "std")),
        }
        assert file.attrs["format"] == "audioheads-embeddings"
        assert file.attrs["format_version"] == 3
        assert json.loads(file.attrs["spec"]) == SPEC
        assert {"versions", "created_utc", "digest", "fingerprint"} <= set(file.attrs)
        mean = file["embeddings/mean"]
        assert (mean.dtype, mean.fletcher32, mean.compression) == (np.float32, True, None)


def test_rows_follow_the_requested_ids(tmp_path):
    table = open_table(write(tmp_path / "t.h5", rows("a", "b", "c")))
    assert table.rows(["c", "a"]).tolist() == [2, 0]
    assert table.rows(["b"], ["kb"]).tolist() == [1]
    with pytest.raises(CacheError, match=r"2 clip.s. are missing, first 'x'"):
        table.rows(["a", "x", "y"])
    with pytest.raises(CacheError, match=r"audio of 1 clip.s. has changed .* first 'b'"):
        table.rows(["a", "b"], ["ka", "other"])
    with pytest.raises(CacheError, match="holds no pooling 'max'; it holds mean, std"):
        table.embeddings("max")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(CacheError, match=r"no cache file .*t\.h5"):
        open_table(tmp_path / "t.h5")


def test_another_format_version_is_named_with_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(checked_file, "FORMAT_VERSION", 7)
    path = write(tmp_path / "t.h5", rows("a"))
    monkeypatch.undo()
    with pytest.raises(CacheError, match="cache format 7, this program reads 1 to 3"):
        verify_table(path)


def write_much(path: Path) -> None:
    """Write a file in a process that limits files to 20 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        write(path, rows(*(f"clip {i}" for i in range(2000))))
    except RunError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(3)


@pytest.mark.crash
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    path = write(tmp_path / "t.h5", rows("a"))
    before = path.read_bytes()
    done = processes.run(write_much, path)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith(f"cannot write {path} (")
    assert done.stdout.count("\n") == 1
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    made = rows("a")
    with pytest.raises(RunError, match=r"cannot write .* \(Not a directory\)"):
        write_file(tmp_path / "file" / "t.h5", SPEC, [made], Totals.of(made), {})


def test_an_unavailable_folder_is_not_created(tmp_path):
    made = rows("a")
    with pytest.raises(RunError, match=r"cannot write .* \(No such file or directory\)"):
        write_file(tmp_path / "unmounted" / "t.h5", SPEC, [made], Totals.of(made), {})
    assert list(tmp_path.iterdir()) == []
