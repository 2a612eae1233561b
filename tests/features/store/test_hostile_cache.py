"""Cache files with correct digests from somebody else: every opening and `cache verify` refuse them in one line."""

import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from features.errors import CacheError
from features.store import fingerprint as fp
from features.store import shard_set
from features.store.frames import ClipFrames
from features.store.hdf5_file import array_digest
from features.store.table import open_table
from features.store.verify import check_all_values, verify_table
from pipeline.cache.inspect import verify
from pipeline.console import Console
from tests.features.forged import forged, replaced
from tests.features.toys import NAMES

pytestmark = pytest.mark.thorough

FRAMES = {"pooling": ("mean", "frames")}


@pytest.fixture
def cache(seven):
    return seven.run(seven.manifest(*NAMES), **FRAMES).path


@contextmanager
def limited_memory(more=1 << 30):
    """Make allocations of more than a GiB beyond the present ones fail."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(path, match, *, at_opening=True, capsys=None):
    with limited_memory():
        for act in (open_table, verify_table) if at_opening else ():
            with pytest.raises(CacheError, match=match) as error:
                act(path)
            assert "\n" not in str(error.value)
            assert str(path) in str(error.value)
        if not at_opening:
            with pytest.raises(CacheError, match=match):
                check_all_values(verify_table(path))
        assert not verify([path], Console())


def external_link(file, other):
    del file["embeddings/mean"]
    file["embeddings/mean"] = h5py.ExternalLink(other, "/embeddings/mean")


def soft_link(file, other):
    file.move("embeddings/mean", "embeddings/moved")
    file["embeddings/mean"] = h5py.SoftLink("/embeddings/moved")


def linked_group(file, other):
    del file["clips"]
    file["clips"] = h5py.ExternalLink(other, "/clips")


def virtual(file, other):
    shape, dtype = file["embeddings/mean"].shape, file["embeddings/mean"].dtype
    values = file["embeddings/mean"][()]
    del file["embeddings/mean"]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(other, "embeddings/mean", shape)
    file.create_virtual_dataset("embeddings/mean", layout).attrs["sha256"] = array_digest(values).hexdigest()


def external_storage(file, other):
    values = np.frombuffer(Path(other).read_bytes()[: 7 * 2 * 4 * 4], "f4").reshape(7, 2, 4)
    replaced(file, "embeddings/mean", lambda _: values, external=[(other, 0, values.nbytes)])


def compressed(file, other):
    replaced(file, "embeddings/mean", compression="gzip", chunks=(7, 2, 4))


def bomb(file, other):
    digest = file["embeddings/mean"].attrs["sha256"]
    del file["embeddings/mean"]
    made = file.create_dataset("embeddings/mean", (7, 2, 1 << 28), "f4", compression="gzip", chunks=(1, 1, 1 << 20))
    made.attrs["sha256"] = digest


def huge_shape(file, other):
    del file["clips/n_frames"]
    file.create_dataset("clips/n_frames", (1 << 40,), "i4", chunks=(1 << 20,)).attrs["sha256"] = ""


def repeated_text(file, other):
    """A million references to one text of 100,000 bytes."""
    text = "x" * 100_000
    del file["failures/reason"]
    made = file.create_dataset("failures/reason", (200_000,), h5py.string_dtype())
    made.attrs["sha256"] = ""
    made[0] = text
    start = made.id.get_offset()
    file.flush()
    with Path(file.filename).open("r+b") as raw:
        raw.seek(start)
        reference = raw.read(16)
        raw.seek(start)
        raw.write(reference * len(made))


def too_deep(file, other):
    file.create_group("clips/more/still")


def two_numbers(file, other):
    file["clips/id"].attrs["extra"] = np.zeros(2)


def strange_type(file, other):
    del file["clips/n_frames"]
    file.create_dataset("clips/n_frames", (7,), np.dtype([("a", "i4")])).attrs["sha256"] = ""


def duplicate_id(file, other):
    replaced(file, "clips/id", lambda ids: [ids[0], *ids[:-1]])


def negative_frames(file, other):
    replaced(file, "clips/n_frames", lambda values: np.array([-1, values[0] + 1 + values[1], *values[2:]], "i4"))


def bad_duration(file, other):
    replaced(file, "clips/duration_s", lambda values: np.full_like(values, np.nan))


def too_few_rows(file, other):
    replaced(file, "embeddings/mean", lambda values: values[:-1])


def too_few_frames(file, other):
    replaced(file, "frames/values", lambda values: values[:-1])


def other_dimension(file, other):
    replaced(file, "embeddings/mean", lambda values: values[:, :, :2])


def other_type(file, other):
    replaced(file, "embeddings/mean", lambda values: values.astype("f8"), dtype="f8")


def no_pooling(file, other):
    del file["embeddings/mean"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (external_link, "embeddings/mean is a link"),
        (soft_link, "embeddings/mean is a link"),
        (linked_group, "clips is a link"),
        (virtual, "embeddings/mean is stored in other datasets"),
        (external_storage, "embeddings/mean is stored in another file"),
        (compressed, "embeddings/mean is compressed"),
        (bomb, "embeddings/mean is compressed"),
        (huge_shape, r"clips/n_frames has shape \(1099511627776,\)"),
        (repeated_text, "failures/reason has 20000000000 bytes of text"),
        (too_deep, "clips/more is not a dataset"),
        (two_numbers, "attribute extra is an array"),
        (strange_type, "unexpected type"),
        (duplicate_id, "a clip id occurs twice"),
        (negative_frames, "a number of frames is negative"),
        (bad_duration, "a duration is negative or not a number"),
        (too_few_rows, r"embeddings/mean has shape \(6, 2, 4\) instead of \(7, 2, 4\)"),
        (too_few_frames, "frames/values has shape"),
        (other_dimension, r"embeddings/mean has shape \(7, 2, 2\) instead of \(7, 2, 4\)"),
        (other_type, "type float64 instead of float32"),
        (no_pooling, "embeddings/mean is missing"),
    ],
)
def test_a_cache_that_no_run_writes_is_refused(cache, tmp_path, change, match):
    other = tmp_path / "other.h5"
    shutil.copy(cache, other)
    with forged(cache) as file:
        change(file, str(other))
    refused(cache, match)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["embeddings/mean", "frames/values"])
def test_values_that_are_not_numbers_are_found_by_verify_and_export(cache, name, value):
    def changed(values):
        values[3, 1, 2] = value
        return values

    with forged(cache) as file:
        replaced(file, name, changed)
    refused(cache, f"{name} contains a value that is NaN or infinite", at_opening=False)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda spec: spec.update(backbone=[]), "spec.backbone is not a mapping"),
        (lambda spec: spec["backbone"].update(dim=10**12), "spec.backbone.dim"),
        (lambda spec: spec["backbone"].update(layers=[0, -1]), "spec.backbone.layers"),
        (lambda spec: spec["backbone"].update(sample_rate="fast"), "spec.backbone.sample_rate"),
        (lambda spec: spec["backbone"].update(more=1), "unexpected keyword argument 'more'"),
        (lambda spec: spec.update(pooling="mean"), "spec.pooling"),
        (lambda spec: spec.update(frames={"dtype": "O", "layers": [0]}), "spec.frames"),
        (lambda spec: spec.clear(), "spec.backbone is not a mapping"),
    ],
)
def test_a_spec_that_no_run_writes_is_refused(cache, change, match):
    with forged(cache) as file:
        spec = json.loads(file.attrs["spec"])
        change(spec)
        file.attrs["spec"] = fp.canonical_json(spec)
        file.attrs["fingerprint"] = fp.fingerprint(spec)
    refused(cache, match)


def test_text_in_place_of_json_is_refused(cache):
    for name, value in (("spec", "[" * 100_000), ("cost", "[]"), ("versions", "{"), ("cost", '{"clips": "many"}')):
        with h5py.File(cache, "r") as file:
            before = file.attrs[name]
        with forged(cache) as file:
            file.attrs[name] = value
        refused(cache, "damaged")
        with forged(cache) as file:
            file.attrs[name] = before
    assert len(verify_table(cache)) == len(NAMES)


def test_notes_of_the_precision_check_among_the_cost_keep_opening(cache):
    with forged(cache) as file:
        cost = json.loads(file.attrs["cost"]) | {"drift": {"precision": "bf16", "cosines": [0.9999, 0.9998]}}
        file.attrs["cost"] = json.dumps(cost)
    assert verify_table(cache).cost["drift"]["precision"] == "bf16"
    assert verify([cache], Console())


@pytest.mark.parametrize("name", ["embeddings/mean", "frames/values"])
def test_a_shard_file_with_fewer_rows_than_the_index_says_is_refused(seven, monkeypatch, name):
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    path = seven.run(seven.manifest(*NAMES), block_rows=3, **FRAMES).path
    shard = open_table(path).locations.shard_files[0]
    with forged(shard.path) as file:
        replaced(file, name, lambda values: values[:-1])
    from features.store import file_header as header

    with forged(path) as file:
        replaced(file, "members/bytes", lambda values: np.array([shard.path.stat().st_size, *values[1:]]))
        sha256 = header.stated_digest(shard.path).encode()
        replaced(file, "members/sha256", lambda values: np.array([sha256, *values[1:]], "S64"))
    table = open_table(path)
    with pytest.raises(CacheError, match=f"{name} has shape"):
        table.embeddings("mean")
    with pytest.raises(CacheError, match=f"{name} has shape"):
        ClipFrames(table, list(table.ids))
    with pytest.raises(CacheError, match=f"{name} has shape"):
        verify_table(path)
