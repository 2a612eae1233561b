"""Damaged cache files: every flipped, missing or added byte is detected; other files are rejected."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from features.errors import CacheError
from features.store import file_header as header
from features.store import fingerprint as fp
from features.store import table as store
from features.store.table import open_table
from features.store.verify import verify_table
from tests.features.tables import SPEC, rows, write


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A minimal cache file and its contents."""
    made = rows("a", "ö", failures=[("c", "", "gone")])
    path = write(tmp_path_factory.mktemp("small") / "t.h5", made)
    return path.read_bytes(), made


def flips(n_bytes, every):
    random = np.random.default_rng(0)
    return [(int(at), int(random.integers(1, 256))) for at in range(random.integers(every), n_bytes, every)]


def test_verify_finds_a_flipped_byte_anywhere(tmp_path, small_file):
    whole, _ = small_file
    path = tmp_path / "t.h5"
    path.write_bytes(whole)
    verify_table(path)
    for position, mask in flips(len(whole), every=11):
        flipped = bytearray(whole)
        flipped[position] ^= mask
        path.write_bytes(flipped)
        with pytest.raises(CacheError):
            verify_table(path)
            pytest.fail(f"byte {position} ^ {mask} went unseen")


def test_an_opened_file_gives_right_values_or_an_error(tmp_path, small_file):
    whole, made = small_file
    path = tmp_path / "t.h5"
    refused = 0
    for position, mask in flips(len(whole), every=13):
        flipped = bytearray(whole)
        flipped[position] ^= mask
        path.write_bytes(flipped)
        try:
            table = open_table(path)
            values = {method: table.embeddings(method) for method in ("mean", "std")}
        except CacheError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
            refused += 1
            continue
        assert (table.ids.tolist(), table.keys.tolist()) == (made.ids, made.keys), position
        assert (table.n_frames.tolist(), table.failures) == (made.n_frames, {"c": ("", "gone")}), position
        assert (table.cache_spec, table.fingerprint) == (SPEC, fp.fingerprint(SPEC))
        for method, array in values.items():
            np.testing.assert_array_equal(array, made.pooled[method], err_msg=f"{position}")
    assert refused > 50


def test_damage_to_the_structure_is_found_before_hdf5_looks_inside(tmp_path, small_file, monkeypatch):
    """The HDF5 library crashes or hangs on some of these."""
    whole, _ = small_file
    path = tmp_path / "t.h5"
    path.write_bytes(whole)
    with h5py.File(path) as file:
        bulk = header.array_ranges([file["embeddings/mean"], file["embeddings/std"]])
    assert sum(stop - first for first, stop in bulk) == 2 * 2 * (2 * 4 * 4 + 4)  # poolings, layers
    monkeypatch.setattr(store, "json", SimpleNamespace(loads=lambda text: pytest.fail("looked inside")))
    inside = [at for at, _ in flips(len(whole), every=29) if at >= 512 and not any(a <= at < b for a, b in bulk)]
    assert len(inside) > 200
    for position in inside:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 8]) + whole[position + 1 :])
        with pytest.raises(CacheError):
            open_table(path)


def test_damage_that_hdf5_does_not_see_is_found(tmp_path):
    """HDF5's checksum does not distinguish two zero bytes from two bytes of 255."""
    made = rows("a", "b")
    made.pooled["mean"][0, 0, 2] = 0
    path = write(tmp_path / "t.h5", made)
    with h5py.File(path) as file:
        at = header.array_ranges([file["embeddings/mean"]])[0][0] + 8
    whole = path.read_bytes()
    assert whole[at : at + 4] == bytes(4)
    path.write_bytes(whole[:at] + b"\xff\xff" + whole[at + 2 :])
    with h5py.File(path) as file:
        assert file["embeddings/mean"][0, 0, 2] != 0
    with pytest.raises(CacheError, match="embeddings/mean does not match its checksum"):
        open_table(path).embeddings("mean")
    with pytest.raises(CacheError, match="damaged"):
        verify_table(path)


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 600, -1, -100])
def test_a_truncated_file_is_refused(tmp_path, small_file, cut):
    path = tmp_path / "t.h5"
    path.write_bytes(small_file[0][:cut])
    with pytest.raises(CacheError, match=r"t\.h5"):
        verify_table(path)


def test_appended_bytes_are_refused(tmp_path, small_file):
    path = tmp_path / "t.h5"
    path.write_bytes(small_file[0] + b"\0")
    with pytest.raises(CacheError, match="damaged"):
        verify_table(path)


def garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = [1]


@pytest.mark.parametrize(("make", "reason"), [(garbage, "damaged"), (other_hdf5, "not an audioheads cache file")])
def test_a_file_that_is_no_cache_is_an_error(tmp_path, make, reason):
    make(tmp_path / "t.h5")
    with pytest.raises(CacheError, match=reason) as error:
        open_table(tmp_path / "t.h5")
    assert error.value.path == tmp_path / "t.h5"
