"""Arrays by layer: chunks and checksums of each layer, files from before, and the memory that reading a layer takes."""

import resource
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from features.errors import CacheError
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import layered, shard_set
from features.store.finalize import finalize
from features.store.hdf5_file import array_digest
from features.store.iterate import stream
from features.store.layered import LayeredWriter, digest_of_layers, read_blocks
from features.store.prune import prune_rows
from features.store.table import open_table
from features.store.verify import check_all_values, verify_table
from features.store.writer import CacheRows, Totals, write_file
from tests import processes
from tests.features.forged import as_version_1, forged, replaced
from tests.features.tables import SPEC, by_id, rows, write

WIDE = BackboneSpec("wide", "wide", "none", "", 16_000, tuple(range(13)), 256, 50.0, 0.1, 30.0)


def version(path):
    with h5py.File(path) as file:
        return int(file.attrs["format_version"])


@pytest.mark.parametrize("pieces", [[7], [1] * 7, [3, 0, 4], [2, 5]])
def test_rows_added_in_any_pieces_give_the_same_chunks_and_checksums(tmp_path, monkeypatch, pieces):
    monkeypatch.setattr(layered, "CHUNK_BYTES", 3 * 5 * 4)  # chunks of three rows
    values = np.random.default_rng(0).normal(size=(7, 2, 5)).astype("f4")
    written = []
    monkeypatch.setattr(
        layered, "array_digest", lambda some, digest: written.append(len(some)) or array_digest(some, digest)
    )
    with h5py.File(tmp_path / "t.h5", "w") as file:
        writer = LayeredWriter(file, "embeddings/mean", values.shape, "f4")
        start = 0
        for count in pieces:
            writer.add(values[start : start + count])
            start += count
        digests = writer.finish()
        stored = file["embeddings/mean"]
        assert (stored.chunks, stored.fletcher32) == ((3, 1, 5), True)
        np.testing.assert_array_equal(stored[()], values)
        assert stored.attrs["sha256"] == digest_of_layers(digests)
    assert len(set(digests)) == 2
    assert written == [3, 3, 3, 3, 1, 1]  # both layers of each chunk, once


def test_only_blocks_with_wanted_rows_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(layered, "CHUNK_BYTES", 3 * 4 * 4)
    path = write(tmp_path / "t.h5", rows(*"abcdefg"))
    with h5py.File(path) as file:
        found = [(first, len(block)) for first, block in read_blocks(file, "embeddings/std", 1, np.array([1, 6]))]
        every = [(first, len(block)) for first, block in read_blocks(file, "embeddings/std", 1)]
    assert found == [(0, 3), (6, 1)]
    assert every == [(0, 3), (3, 3), (6, 1)]


def test_a_file_from_before_is_read_and_verified(tmp_path):
    made = rows(*"abcde")
    path = write(tmp_path / "t.h5", made)
    as_version_1(path)
    table = verify_table(path)
    check_all_values(table)
    assert version(path) == 1
    np.testing.assert_array_equal(table.embeddings("std"), made.pooled["std"])
    for at in range(2):
        np.testing.assert_array_equal(table.layer("std", at), made.pooled["std"][:, at])
        np.testing.assert_array_equal(table.layer("std", at, np.array([4, 1])), made.pooled["std"][[4, 1], at])
    (chunk,) = stream(table, np.arange(5), ["mean"], [1])
    np.testing.assert_array_equal(chunk.pooled["mean"], made.pooled["mean"][:, 1:])
    with h5py.File(path, "r+") as file:
        file["embeddings/std"][1, -1, 0] += 1
    for read in (lambda: table.embeddings("std"), lambda: table.layer("std", 0)):
        with pytest.raises(CacheError, match="embeddings/std does not match its checksum"):
            read()


@pytest.mark.parametrize("set_bytes", [1 << 32, 0])
def test_a_file_from_before_is_extended_without_its_rows_changing(tmp_path, monkeypatch, set_bytes):
    monkeypatch.setattr(shard_set, "SET_BYTES", set_bytes)
    path = write(tmp_path / "t.h5", rows(*"abc"))
    as_version_1(path)
    before = {name: by_id(open_table(path), name) for name in SPEC["pooling"]}
    new = write(tmp_path / "t.parts" / "shard-000000.h5", rows("d", "e", seed=1))
    finalize(path, SPEC, [new], ())
    table = verify_table(path)
    after = {name: by_id(table, name) for name in SPEC["pooling"]}
    assert set(after["mean"]) == set("abcde")
    for name, vectors in before.items():
        for clip, vector in vectors.items():
            np.testing.assert_array_equal(after[name][clip], vector)
    for at in range(2):
        np.testing.assert_array_equal(table.layer("std", at), table.embeddings("std")[:, at])
    assert version(path) == (2 if set_bytes == 0 else 3)
    if set_bytes == 0:
        assert sorted(version(file.path) for file in table.locations.shard_files) == [1, 3]


def test_pruning_a_file_from_before_keeps_the_other_rows(tmp_path):
    path = write(tmp_path / "t.h5", rows(*"abc"))
    as_version_1(path)
    before = by_id(open_table(path), "std")
    prune_rows(path, {"a", "c"}, print)
    after = by_id(verify_table(path), "std")
    assert set(after) == {"a", "c"}
    for clip, vector in after.items():
        np.testing.assert_array_equal(vector, before[clip])
    assert version(path) == 3


def no_checksums(file):
    del file["checksums/mean"]


def too_few_checksums(file):
    replaced(file, "checksums/mean", lambda values: values[:1])


def other_checksums(file):
    replaced(file, "checksums/mean", lambda values: np.arange(2), dtype="i8")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (no_checksums, "checksums/mean is missing"),
        (too_few_checksums, "checksums/mean is not a checksum for each of 2 layers"),
        (other_checksums, "checksums/mean is not a checksum for each of 2 layers"),
    ],
)
def test_layers_without_their_checksums_are_refused(tmp_path, change, match):
    path = write(tmp_path / "t.h5", rows(*"abc"))
    with forged(path) as file:
        change(file)
    with pytest.raises(CacheError, match=match):
        open_table(path)


def read_in_little_memory(path, above_mb, layer):
    """Read one layer, or all, in a process whose address space may grow by some MB; print the sum of the values."""
    table = open_table(path)
    table.layer("mean", 0, np.arange(1))  # libraries and their buffers
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + int(above_mb * 2**20),) * 2)
    try:
        values = table.embeddings("mean") if layer is None else table.layer("mean", layer)
        sys.stdout.write(f"{values.sum(dtype=np.float64):.6f}\n")
    except MemoryError:
        sys.exit(3)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited and measured as on Linux")
def test_reading_one_of_13_layers_takes_hardly_more_memory_than_the_layer(tmp_path):
    n_clips = 40_000
    path, spec = tmp_path / "t.h5", fp.cache_spec(WIDE, ["mean"])

    def parts():
        for first in range(0, n_clips, 2000):
            ids = [f"clip {at}" for at in range(first, first + 2000)]
            values = np.full((2000, 13, 256), first, np.float32) + np.arange(13, dtype=np.float32)[:, None]
            yield CacheRows(ids, ids, [1.0] * 2000, [1] * 2000, {"mean": values})

    write_file(path, spec, parts(), Totals(n_clips, n_clips), {})
    layer_mb = n_clips * 256 * 4 / 2**20  # 39 MB; all layers are 508 MB
    done = processes.run(read_in_little_memory, path, 1.05 * layer_mb + 4, 5)
    assert done.returncode == 0, done.stderr
    expected = sum(256 * 2000 * (first + 5.0) for first in range(0, n_clips, 2000))
    assert float(done.stdout) == pytest.approx(expected)
    assert processes.run(read_in_little_memory, path, 1.05 * layer_mb + 4, None).returncode == 3
