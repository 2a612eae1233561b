"""Features read from the cache by layer: the values of whole arrays, verified, in little memory, from any thread."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from features.errors import CacheError, RunError
from features.store import fingerprint as fp
from features.store import layered, shard_set
from features.store.finalize import finalize
from features.store.table import EmbeddingTable, open_table
from heads.batched.vectors import SelectedLayers, check_finite
from heads.kinds.linear import LinearOptions
from heads.kinds.weighted_sum import WeightedSumOptions
from heads.splits.protocol import Split
from heads.training.preconditions import check_rows
from heads.training.train import train_head
from pipeline.stages import head_fits, stored_vectors
from pipeline.stages.stored_vectors import StoredVectors
from tests.features.forged import as_version_1, forged, replaced
from tests.features.tables import BACKBONE, SPEC, rows, write

N_CLIPS = 40
LAYER_BYTES = N_CLIPS * 8 * 4


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A cache of 39 clips in chunks of four rows."""
    monkeypatch.setattr(layered, "CHUNK_BYTES", 4 * 4 * 4)
    return open_table(write(tmp_path / "t.h5", rows(*(f"clip {at}" for at in range(N_CLIPS - 1)))))


@pytest.fixture(params=[0, LAYER_BYTES, 1 << 28], ids=["none kept", "one kept", "all kept"])
def kept_bytes(request, monkeypatch):
    monkeypatch.setattr(stored_vectors, "KEPT_BYTES", request.param)
    return request.param


def order():
    """Rows of the table in the order of a manifest whose clip 7 failed."""
    rows = np.random.default_rng(1).permutation(N_CLIPS - 1)
    return np.concatenate([rows[:7], [-1], rows[7:]])


def whole(table):
    """The features as one array, (N, L, D·P)."""
    at = order()
    values = np.concatenate([table.embeddings(name) for name in ("mean", "std")], axis=2)[at]
    values[at < 0] = np.nan
    return values


def vectors_of(table):
    return StoredVectors(table, ["mean", "std"], order())


def test_any_rows_of_any_layer_are_those_of_the_whole_array(table, kept_bytes):
    vectors, expected = vectors_of(table), whole(table)
    assert (vectors.shape, vectors.dtype, len(vectors)) == ((N_CLIPS, 2, 8), np.float32, N_CLIPS)
    for layer in (0, 1, 0, 0, 1):
        for chosen in ([3, 1, 2], [7], [39, 0, 7, 39], [], range(N_CLIPS)):
            read = vectors.read(np.array(chosen, np.int64), layer)
            np.testing.assert_array_equal(read, expected[list(chosen), layer])
            read[:] = 0  # a new array each time
    np.testing.assert_array_equal(SelectedLayers(vectors, [1]).read(np.arange(5), 0), expected[:5, 1])


@pytest.mark.parametrize("form", ["version 1", "set", "float16"])
def test_every_form_of_the_cache_is_read(tmp_path, kept_bytes, monkeypatch, form):
    ids = [f"clip {at}" for at in range(N_CLIPS - 1)]
    path, spec = tmp_path / "t.h5", SPEC
    if form == "float16":
        spec = fp.cache_spec(BACKBONE, ["mean", "std"], dtype="float16")
        write(path, rows(*ids), spec)
    elif form == "set":
        monkeypatch.setattr(shard_set, "SET_BYTES", 0)
        parts = [write(tmp_path / "t.parts" / f"shard-{at}.h5", rows(*ids[at::3], seed=at)) for at in range(3)]
        as_version_1(parts[1])
        finalize(path, spec, parts, ())
    else:
        as_version_1(write(path, rows(*ids)))
    table = open_table(path)
    vectors, expected = vectors_of(table), whole(table)
    assert vectors.dtype == np.dtype(spec["dtype"])
    for layer in (1, 0, 1):
        read = vectors.read(np.arange(N_CLIPS)[::-1], layer)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, expected[::-1, layer])


def test_a_damaged_layer_is_found_when_it_is_read_and_the_others_are_usable(table, kept_bytes):
    with h5py.File(table.path, "r+") as file:
        file["embeddings/std"][30, 1, 2] += 1
    vectors = vectors_of(table)
    assert len(vectors.read(np.arange(3), 0)) == 3
    for _ in range(2):
        with pytest.raises(CacheError, match="layer 1 of embeddings/std does not match its checksum"):
            vectors.read(np.arange(1), 1)


def recorded(monkeypatch):
    """Returns the list to which every reading from a cache adds (layer, whether it is verified)."""
    read = []
    monkeypatch.setattr(
        EmbeddingTable,
        "blocks",
        lambda self, pooling, layer, rows, *, verify=True, right=EmbeddingTable.blocks: (
            read.append((layer, verify)) or right(self, pooling, layer, rows, verify=verify)
        ),
    )
    return read


def test_layers_that_fit_are_read_once_and_larger_ones_are_verified_once(table, kept_bytes, monkeypatch):
    read = recorded(monkeypatch)
    vectors = vectors_of(table)
    for _ in range(2):  # two folds
        for layer in (0, 1):
            vectors.read(np.arange(20), layer)
            vectors.read(np.arange(20, 40), layer)
    verified = [layer for layer, verify in read if verify]
    assert verified == [0, 0, 1, 1]  # two poolings
    others = len(read) - len(verified)
    assert others == {0: 16, LAYER_BYTES: 4, 1 << 28: 0}[kept_bytes]


def test_if_only_some_layers_fit_the_first_ones_stay(tmp_path, monkeypatch):
    spec = fp.cache_spec(replace(BACKBONE, layers=(0, 1, 2)), ["mean"])
    made = rows(*"abcde")
    made.pooled = {"mean": np.zeros((5, 3, 4), np.float32)}
    monkeypatch.setattr(stored_vectors, "KEPT_BYTES", 2 * 5 * 4 * 4)
    vectors = StoredVectors(open_table(write(tmp_path / "t.h5", made, spec)), ["mean"], np.arange(5))
    read = recorded(monkeypatch)
    for _ in range(3):
        for layer in range(3):
            vectors.read(np.arange(2), layer)
    assert read == [(0, True), (1, True), (2, True), *[(1, False), (2, False)] * 2]


def test_heads_of_a_backbone_share_the_layers_that_are_kept(monkeypatch):
    monkeypatch.setattr(head_fits, "features_of", lambda table, poolings, *_: [table, poolings])
    read = head_fits.feature_reader(SimpleNamespace(inputs=SimpleNamespace(tables={"x": 1, "y": 2}), manifest=None))
    first = read("x", ("mean",))
    assert read("x", ("mean",)) is first
    assert (read("x", ("std",)), read("y", ("std",))) == ([1, ("std",)], [2, ("std",)])
    assert read("x", ("mean",)) is not first  # only the last ones are kept


def test_threads_read_different_layers_at_the_same_time(table, kept_bytes):
    vectors, expected = vectors_of(table), whole(table)

    def read(number):
        layer, chosen = number % 2, np.random.default_rng(number).permutation(N_CLIPS)[:20]
        return np.array_equal(vectors.read(chosen, layer), expected[chosen, layer], equal_nan=True)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(60)))


def test_heads_give_the_same_from_the_cache_as_from_an_array(table, kept_bytes):
    usable = np.delete(np.arange(N_CLIPS), 7)
    split = Split("1", usable[:20], usable[20:30], usable[30:])
    targets = np.arange(N_CLIPS) % 2
    for head in (LinearOptions(), WeightedSumOptions(max_epochs=2)):
        one, other = (
            train_head(head, features, targets, [split], [0], n_classes=2)
            for features in (vectors_of(table), whole(table))
        )
        np.testing.assert_array_equal(one.fits[0].probabilities, other.fits[0].probabilities)
        assert one.fits[0].layer == other.fits[0].layer


def test_values_on_disk_are_checked_when_their_layer_is_first_read(table, kept_bytes):
    def changed(values):
        values[3, 1, :2] = np.nan
        return values

    with forged(table.path) as file:
        replaced(file, "embeddings/std", changed)
    table = open_table(table.path)
    at = int(np.flatnonzero(order() == 3)[0])
    usable = np.delete(np.arange(N_CLIPS), 7)
    split = Split("1", usable[:20], usable[20:30], usable[30:])
    vectors = check_rows(vectors_of(table), np.arange(N_CLIPS) % 2, [split], 2, "single-label")
    assert len(vectors.read(usable[:2], 0)) == 2
    message = f"2 feature values of 1 of 39 clips are NaN or infinite .first: row {at}.; extract them again"
    with pytest.raises(RunError, match=message):
        vectors.read(np.delete(usable, np.flatnonzero(usable == at)), 1)


def test_few_rows_are_checked_at_a_time():
    asked = []

    def read(rows, layer):
        asked.append(len(rows))
        return np.ones((len(rows), 1 << 21), np.float32)

    check_finite(SimpleNamespace(shape=(5, 1, 1 << 21), read=read), np.arange(5), [0])
    assert asked == [2, 2, 1]
