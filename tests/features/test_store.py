"""Cache files: written whole or not at all, merged by id, and no flipped byte goes unseen."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import fingerprint as fp
from features import header, store
from features import seal as sealing
from features.errors import CacheError, RunError
from features.seal import Rows, Totals, seal, write_file
from features.store import open_table, verify_table
from tests.features.toys import toy_spec

BACKBONE = toy_spec()
SPEC = fp.cache_spec(BACKBONE, ["mean", "std"])
FRAMES_SPEC = fp.cache_spec(BACKBONE, ["max", "frames"], frame_layers=[1], frame_dtype="float16")


def rows(*ids, key="k", seed=0, spec=SPEC, failures=()):
    random = np.random.default_rng(seed)
    made = Rows(failures=list(failures), frames=None if spec["frames"] is None else [])
    for position, clip in enumerate(ids):
        made.ids.append(clip)
        made.keys.append(key + clip)
        made.durations_s.append(1.5 + position)
        made.n_frames.append(1 + position % 3)
        if made.frames is not None:
            made.frames.append(random.normal(size=(1 + position % 3, 1, 4)).astype("f2"))
    made.pooled = {m: random.normal(size=(len(ids), 2, 4)).astype("f4") for m in spec["pooling"] if ids}
    return made


def write(path, made, spec=SPEC, cost=None):
    write_file(path, spec, [made], Totals.of(made), cost or {"clips": len(made.ids), "audio_s": 1.0, "compute_s": 2.0})
    return path


def by_id(table, pooling):
    return dict(zip(table.ids, table.embeddings(pooling), strict=True))


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
            "embeddings/mean",
            "embeddings/std",
        }
        assert file.attrs["format"] == "audioheads-embeddings"
        assert file.attrs["format_version"] == 1
        assert json.loads(file.attrs["spec"]) == SPEC
        assert {"versions", "created_utc", "digest", "fingerprint"} <= set(file.attrs)
        mean = file["embeddings/mean"]
        assert (mean.dtype, mean.fletcher32, mean.compression) == (np.float32, True, None)


def test_rows_follow_the_ids_asked_for(tmp_path):
    table = open_table(write(tmp_path / "t.h5", rows("a", "b", "c")))
    assert table.rows(["c", "a"]).tolist() == [2, 0]
    assert table.rows(["b"], ["kb"]).tolist() == [1]
    with pytest.raises(CacheError, match=r"2 clip.s. are missing, first 'x'"):
        table.rows(["a", "x", "y"])
    with pytest.raises(CacheError, match=r"audio of 1 clip.s. has changed .* first 'b'"):
        table.rows(["a", "b"], ["ka", "other"])
    with pytest.raises(CacheError, match="holds no pooling 'max'; it holds mean, std"):
        table.embeddings("max")


ids = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=4), st.integers(1, 400), st.booleans())
def test_merging_keeps_each_clips_newest_row_and_no_row_goes(tmp_path_factory, written, copy_bytes, with_frames):
    folder = tmp_path_factory.mktemp("merge")
    spec = FRAMES_SPEC if with_frames else SPEC
    pooling = spec["pooling"][0]
    expected, failing, frames = {}, {}, {}
    sealing.COPY_BYTES, before = copy_bytes, sealing.COPY_BYTES
    try:
        for number, (good, bad) in enumerate(written):
            failures = [(clip, f"bad{number}", "why") for clip in bad if clip not in good]
            made = rows(*good, key=f"k{number}", seed=number, spec=spec, failures=failures)
            shard = write(folder / f"shard-{number}.h5", made, spec)
            seal(folder / "t.h5", spec, [shard], ())
            for position, clip in enumerate(good):
                failing.pop(clip, None)
                expected[clip] = (f"k{number}{clip}", made.pooled[pooling][position])
                frames[clip] = made.frames and made.frames[position]
            failing |= {clip: (key, why) for clip, key, why in failures}
    finally:
        sealing.COPY_BYTES = before
    table = verify_table(folder / "t.h5")
    assert dict(zip(table.ids, table.keys, strict=True)) == {clip: key for clip, (key, _) in expected.items()}
    assert table.failures == failing
    for clip, values in by_id(table, pooling).items():
        np.testing.assert_array_equal(values, expected[clip][1])
        if with_frames:
            np.testing.assert_array_equal(table.frames(clip), frames[clip])


def test_costs_add_up_over_shards(tmp_path):
    cost = {"clips": 1, "audio_s": 2.0, "compute_s": 3.0}
    shards = [write(tmp_path / f"{n}.h5", rows(n), cost=cost) for n in "abc"]
    seal(tmp_path / "t.h5", SPEC, shards, ())
    assert open_table(tmp_path / "t.h5").cost.items() >= {"clips": 3, "audio_s": 6.0, "compute_s": 9.0}.items()


def test_a_damaged_shard_is_named_and_nothing_changes(tmp_path):
    shards = [write(tmp_path / f"{n}.h5", rows(n)) for n in "ab"]
    seal(tmp_path / "t.h5", SPEC, shards[:1], ())
    before = (tmp_path / "t.h5").read_bytes()
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    with pytest.raises(CacheError, match="damaged") as error:
        seal(tmp_path / "t.h5", SPEC, shards[1:], ())
    assert error.value.path == shards[1]
    assert (tmp_path / "t.h5").read_bytes() == before


def test_a_new_file_that_does_not_read_back_never_replaces_the_old(tmp_path, monkeypatch):
    shards = [write(tmp_path / f"{n}.h5", rows(n)) for n in "ab"]
    seal(tmp_path / "t.h5", SPEC, shards[:1], ())
    before = (tmp_path / "t.h5").read_bytes()
    monkeypatch.setattr(header, "make_header", lambda path, bulk, right=header.make_header: right(path, bulk)[::-1])
    monkeypatch.setattr(store.header, "is_whole", lambda path: path.suffix != ".tmp")
    with pytest.raises(CacheError, match="damaged"):
        seal(tmp_path / "t.h5", SPEC, shards[1:], ())
    monkeypatch.undo()
    assert (tmp_path / "t.h5").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "t.h5"]


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A sealed file as small as they come, with what it holds."""
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
    """HDF5's library crashes or hangs on some of these."""
    whole, _ = small_file
    path = tmp_path / "t.h5"
    path.write_bytes(whole)
    with h5py.File(path) as file:
        bulk = header.bulk_ranges([file["embeddings/mean"], file["embeddings/std"]])
    assert sum(stop - first for first, stop in bulk) == 2 * (2 * 2 * 4 * 4 + 4)
    monkeypatch.setattr(store, "json", SimpleNamespace(loads=lambda text: pytest.fail("looked inside")))
    inside = [at for at, _ in flips(len(whole), every=29) if at >= 512 and not any(a <= at < b for a, b in bulk)]
    assert len(inside) > 200
    for position in inside:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 8]) + whole[position + 1 :])
        with pytest.raises(CacheError):
            open_table(path)


def test_damage_that_hdf5_does_not_see_is_found(tmp_path):
    """To HDF5's own checksum, two zero bytes are the same as two of 255."""
    made = rows("a", "b")
    made.pooled["mean"][0, 0, 2] = 0
    path = write(tmp_path / "t.h5", made)
    with h5py.File(path) as file:
        at = header.bulk_ranges([file["embeddings/mean"]])[0][0] + 8
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
def test_a_file_that_is_no_cache_says_so(tmp_path, make, reason):
    make(tmp_path / "t.h5")
    with pytest.raises(CacheError, match=reason) as error:
        open_table(tmp_path / "t.h5")
    assert error.value.path == tmp_path / "t.h5"


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(CacheError, match=r"no cache file .*t\.h5"):
        open_table(tmp_path / "t.h5")


def test_another_format_version_is_named_with_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FORMAT_VERSION", 7)
    path = write(tmp_path / "t.h5", rows("a"))
    monkeypatch.undo()
    with pytest.raises(CacheError, match="cache format 7, this program reads 1"):
        verify_table(path)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    path = write(tmp_path / "t.h5", rows("a"))
    before = path.read_bytes()
    script = """
        import resource, sys
        from pathlib import Path
        from features.errors import RunError
        from tests.features.test_store import rows, write
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            write(Path(sys.argv[1]), rows(*(f"clip {i}" for i in range(2000))))
        except RunError as error:
            print(error)
            sys.exit(3)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith(f"cannot write {path} (")
    assert done.stdout.count("\n") == 1
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write .*Not a directory|cannot write .*File exists"):
        write(tmp_path / "file" / "t.h5", rows("a"))
