"""A plan covers every clip once, respects its budgets, and is read from disk unchanged."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.manifest import Manifest
from features.planning.plan import BLOCK_AUDIO_S, Plan, default_batch_s, make_plan
from features.records import Records
from features.store.content_keys import ClipContent
from tests.features.toys import RATE, toy_spec

SPEC = toy_spec(min_duration_s=0.5, max_duration_s=10.0)


def content(seconds, key="k", failure=""):
    return ClipContent("" if failure else key, round(seconds * RATE), RATE, 100, 5, failure)


def planned(seconds, block_rows=10, batch_s=20.0, keep_frames=False, rows=None, failures=()):
    ids = [f"c{i}" for i in range(len(seconds))]
    manifest = Manifest("m", Path("root"), pd.DataFrame({"id": ids, "path": ids, "label": "a"}))
    known = (content(s, f"k{i}", "bad" if i in failures else "") for i, s in enumerate(seconds))
    contents = Records.of(ClipContent, known)
    rows = np.arange(len(seconds)) if rows is None else np.array(rows, int)
    plan = make_plan(
        manifest, rows, contents, SPEC, "f", block_rows=block_rows, batch_s=batch_s, threads=1, keep_frames=keep_frames
    )
    return manifest, contents, plan


@given(
    st.lists(st.one_of(st.floats(0.001, 3), st.floats(3, 60), st.floats(500, 700)), min_size=1, max_size=60),
    st.integers(1, 20),
    st.floats(0.5, 60),
    st.booleans(),
)
def test_every_clip_is_in_one_batch_and_no_budget_is_exceeded(seconds, block_rows, batch_s, keep_frames):
    _, _, plan = planned(seconds, block_rows, batch_s, keep_frames)
    positions = [position for block in plan.blocks for batch in block for position in batch]
    assert positions == list(range(len(plan.clips)))
    assert sorted(clip.id for clip in plan.clips) == sorted(f"c{i}" for i in range(len(seconds)))
    lengths = [max(clip.n_samples / RATE, SPEC.min_duration_s) for clip in plan.clips]
    assert lengths == sorted(lengths, reverse=True)
    for block in plan.blocks:
        held = [lengths[position] for batch in block for position in batch]
        assert 1 <= len(held) <= block_rows
        assert len(held) == 1 or sum(held) <= BLOCK_AUDIO_S
        for batch in block:
            assert batch
            assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= batch_s + 1e-6
            assert len(batch) == 1 or lengths[batch[0]] <= SPEC.max_duration_s, "a clip in windows is alone"


def test_only_requested_rows_are_planned_and_bad_ones_are_failures():
    _, _, plan = planned([1.0] * 5, rows=[0, 2, 4], failures=[2])
    assert [clip.id for clip in plan.clips] == ["c0", "c4"]
    assert plan.failures == (("c2", "", "bad"),)
    assert plan.wanted().to_pydict() == {"id": ["c0", "c2", "c4"], "key": ["k0", "", "k4"]}


def test_no_clips_make_no_blocks():
    assert planned([1.0], rows=[])[2].blocks == ()


@settings(max_examples=20)
@given(st.lists(st.floats(0.001, 30), min_size=1, max_size=10))
def test_it_is_read_from_disk_unchanged(tmp_path_factory, seconds):
    path = tmp_path_factory.mktemp("parts") / "plan.json"
    _, _, plan = planned(seconds, failures=[0])
    plan.save(path)
    assert Plan.load(path) == plan
    assert [p.name for p in path.parent.iterdir()] == ["plan.json"]


def test_a_damaged_plan_is_no_plan(tmp_path):
    _, _, plan = planned([1.0, 2.0, 3.0])
    path = tmp_path / "plan.json"
    assert Plan.load(path) is None
    plan.save(path)
    whole = path.read_bytes()
    for position in np.random.default_rng(0).permutation(len(whole))[:300]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        assert Plan.load(path) is None, position
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert Plan.load(path) is None
    path.write_text("[]")
    assert Plan.load(path) is None


def test_a_plan_of_another_version_is_no_plan(tmp_path, monkeypatch):
    _, _, plan = planned([1.0])
    monkeypatch.setattr("features.planning.plan.PLAN_VERSION", 99)
    plan.save(tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text())["version"] == 99
    assert Plan.load(tmp_path / "plan.json") == plan
    monkeypatch.undo()
    assert Plan.load(tmp_path / "plan.json") is None


def test_moved_audio_is_found_at_its_new_path():
    manifest, contents, plan = planned([1.0, 2.0, 1.5], failures=[1])
    moved = Manifest("m", manifest.root / "elsewhere", manifest.clips)
    touched = Records.of(
        ClipContent, (dataclasses.replace(c, mtime_ns=77, failure=c.failure and "worse") for c in contents)
    )
    located = plan.located(moved, touched)
    assert [clip.path for clip in located.clips] == ["root/elsewhere/c2", "root/elsewhere/c0"]
    assert {clip.mtime_ns for clip in located.clips} == {77}
    assert located.failures == (("c1", "", "worse"),)
    assert (located.blocks, located.wanted()) == (plan.blocks, plan.wanted())
    assert plan.located(manifest, contents) == plan


@pytest.mark.parametrize("rows", [1, 3])
def test_like_goes_with_like(rows):
    _, _, plan = planned([0.6, 9.0, 0.7, 9.5, 0.8, 9.2], block_rows=rows)
    assert [clip.id for clip in plan.clips] == ["c3", "c5", "c1", "c4", "c2", "c0"]
    assert len(plan.blocks) == 6 // rows


def test_a_well_filled_batch_takes_no_much_shorter_clip():
    _, _, plan = planned([4.0, 4.0, 3.9, 2.0, 1.9, 0.6], batch_s=20.0)
    assert [[plan.clips[at].id for at in batch] for batch in plan.blocks[0]] == [["c0", "c1", "c2"], ["c3", "c4", "c5"]]


@pytest.mark.parametrize(
    ("family", "providers", "expected"),
    [
        ("wav2vec2", [], 320.0),
        ("logmel", [], 320.0),
        ("mfcc", [], 20.0),
        ("waveform", [], 20.0),
        ("litert", [], 20.0),
        ("onnx", ["CPUExecutionProvider"], 20.0),
        ("onnx", ["CUDAExecutionProvider", "CPUExecutionProvider"], 320.0),
    ],
)
def test_batches_on_a_gpu_machine_are_as_large_as_where_the_backbone_runs_allows(
    family, providers, expected, monkeypatch
):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    spec = toy_spec(family=family)
    assert default_batch_s(spec, "cuda") == default_batch_s(spec, "cuda:1") == expected
    assert default_batch_s(spec, "cpu") == 20.0
