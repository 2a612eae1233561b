"""Damaged or hostile JSON: a reader names the file and the key, or a file that can be made again counts as absent."""

import hashlib
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from features.backbones.loading.model_folders import weight_files
from features.errors import AudioheadsError, UserError, WeightsError
from features.json_files import parse_object, read_object, try_object
from features.planning.plan import Plan, make_plan
from heads.training.checkpoint import load_head, save_head
from pipeline.predicting.locate import find_model, models_of
from pipeline.predicting.resume import Parts
from pipeline.report.analysis.learning import read_training_progress
from pipeline.results.features_index import read_features_index
from pipeline.results.run_folder import is_done, read_about
from tests.features.toys import NAMES, toy_spec

BROKEN = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"3",
    b'"text"',
    b"[" * 100_000,
    b'{"a": ' * 100_000,
    b'{"format_version": ' + b"1" * 100_000 + b"}",
]
HEAD = {
    "labels": ["a", "b"],
    "backbone": {"name": "toy"},
    "pooling": ["mean"],
    "layer": 0,
    "task": "single-label",
    "extra": {"fold": "1", "seed": 0, "stage1": {}},
}


def one_line(error):
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_not_an_object_is_one_line_that_names_the_file(tmp_path, text):
    path = tmp_path / "about.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"about\.json: ") as error:
        read_object(path)
    one_line(error)
    assert try_object(path) is None


def test_a_missing_key_names_the_file_and_the_key_at_any_depth():
    found = parse_object('{"a": {"b": [{"c": 1}]}}', "x.json", error=WeightsError)
    assert found["a"]["b"][0]["c"] == 1
    for read in (
        lambda: found["z"],
        lambda: found["a"]["z"],
        lambda: pickle.loads(pickle.dumps(found))["a"]["b"][0]["z"],
    ):
        with pytest.raises(WeightsError, match=r"^x\.json: has no key 'z'"):
            read()
    assert found == json.loads(json.dumps(found)) == {"a": {"b": [{"c": 1}]}}
    with pytest.raises(UserError, match=r"^x\.json: a\.0: Input should be a valid integer"):
        parse_object('{"a": ["1"]}', "x.json", schema=dict[str, list[int]])


@pytest.fixture
def head(tmp_path):
    """A run folder with one head."""
    folder = tmp_path / "run" / "models" / "toy" / "linear"
    state = {"weight_0": np.zeros((2, 4), "f4"), "bias_0": np.zeros(2, "f4")}
    path = folder / "fold-1-seed-0.safetensors"
    save_head(path, state, head="linear", configuration={}, **HEAD)
    (folder / "fit.json").write_text(json.dumps({"job": "x", "model": "toy", "head": "linear"}))
    (folder / "predictions.parquet").touch()
    return path


@pytest.mark.parametrize("text", BROKEN)
def test_a_damaged_fit_json_is_named_and_is_no_finished_fit(head, text):
    assert models_of(head.parents[3])
    assert find_model(head.parent).title == "toy linear"
    (head.parent / "fit.json").write_bytes(text)
    for path in (head.parent, head):
        with pytest.raises(WeightsError, match=r"linear/fit\.json: ") as error:
            find_model(path)
        one_line(error)
    assert not is_done(head.parent, "x")
    with pytest.raises(UserError, match="is not trained yet"):
        read_about(head.parent, "toy linear", "audioheads run")


def test_a_fit_json_without_a_key_names_it(head):
    with pytest.raises(UserError, match=r"fit\.json: has no key 'warnings'"):
        read_about(head.parent, "toy linear", "audioheads run")["warnings"]


@pytest.mark.parametrize("text", [text for text in BROKEN if text.isascii() and text])
@pytest.mark.parametrize("key", ["audioheads-head", "audioheads-finetuned"])
def test_damaged_metadata_of_weights_is_named(head, key, text):
    save_file({"x": np.zeros(1, "f4")}, head, {key: text.decode()})
    for read in (find_model, load_head) if key == "audioheads-head" else (find_model,):
        with pytest.raises(WeightsError, match=r"fold-1-seed-0\.safetensors: ") as error:
            read(head)
        one_line(error)


@pytest.mark.parametrize(
    ("key", "value"),
    [("labels", "ab"), ("labels", [1]), ("pooling", None), ("backbone", []), ("extra", 3), ("task", "x"), ("layer", {})]
    + [(key, ...) for key in ("labels", "backbone", "pooling", "layer", "configuration", "task", "extra", "head")],
)
def test_metadata_of_a_head_with_a_wrong_or_missing_key_names_it(head, key, value):
    about = {"format": "audioheads-head", "format_version": 2, "head": "linear", "configuration": {}, **HEAD}
    about = {name: given for name, given in (about | {key: value}).items() if given is not ...}
    save_file({"weight_0": np.zeros((2, 4), "f4")}, head, {"audioheads-head": json.dumps(about)})
    for read in (find_model, load_head):
        with pytest.raises(WeightsError, match=rf"safetensors: (has no key '{key}'|{key}\b)") as error:
            read(head)
        one_line(error)


@pytest.mark.parametrize(
    ("about", "match"),
    [
        ({}, "not a model of a run"),
        ({"format": "audioheads-model"}, "export format None"),
        ({"format": "audioheads-model", "format_version": 1}, "members: Field required"),
        ({"format": "audioheads-model", "format_version": 1, "members": []}, "members: "),
        ({"format": "audioheads-model", "format_version": 1, "members": [{}]}, r"members\.0\.file"),
        ({"format": "audioheads-model", "format_version": 1, "members": [{"file": 3}]}, r"members\.0\.file"),
        ({"format": "audioheads-model", "format_version": 1, "members": [{"file": "../x"}]}, "outside the folder"),
        ({"format": "audioheads-model", "format_version": 1, "members": [{"file": "/x"}]}, "outside the folder"),
        (
            {
                "format": "audioheads-model",
                "format_version": 1,
                "members": [{"file": "x"}],
                "files": {"weights": "/etc"},
            },
            "outside the folder",
        ),
    ],
)
def test_a_damaged_exported_folder_is_one_line(tmp_path, about, match):
    (tmp_path / "config.json").write_text(json.dumps(about))
    with pytest.raises(AudioheadsError, match=match) as error:
        find_model(tmp_path)
    one_line(error)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("text", BROKEN)
def test_files_that_can_be_made_again_count_as_absent(tmp_path, text):
    (tmp_path / "features.json").write_bytes(text)
    assert read_features_index(tmp_path) == {}
    (tmp_path / "fold-1-seed-0.json").write_bytes(text)
    assert read_training_progress(tmp_path) == []
    notes = []
    (tmp_path / "out.csv.parts").mkdir()
    (tmp_path / "out.csv.parts" / "model.json").write_bytes(text)
    with Parts(tmp_path / "out.csv", "digest", notes.append) as parts:
        assert parts.done == {}
    assert "starting over" in notes[0]


def test_an_index_of_features_with_wrong_entries_counts_as_absent(tmp_path):
    for entry in (3, {}, {"file": 3, "backbone": {}, "features": {}}):
        (tmp_path / "features.json").write_text(json.dumps({"mfcc": entry}))
        assert read_features_index(tmp_path) == {}


@pytest.mark.parametrize("text", [*BROKEN, b'{"weight_map": 3}', b"{}", b'{"weight_map": {"a": "../../x"}}'])
def test_a_damaged_index_of_a_model_is_named(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_bytes(text)
    with pytest.raises(WeightsError, match=r"model\.safetensors\.index\.json: ") as error:
        weight_files(tmp_path)
    one_line(error)


@pytest.mark.parametrize("text", BROKEN)
def test_a_damaged_plan_counts_as_absent(tmp_path, text):
    path = tmp_path / "plan.json"
    for rest in (text, b'"a":1,"clips":[\n' + text + b"\n]}\n"):
        path.write_bytes(b'{"sha256":"%b",' % hashlib.sha256(rest).hexdigest().encode() + rest)
        assert Plan.load(path) is None


@pytest.mark.parametrize("sizes", [[[3]], [[2, 0]], [[-1, 3]], [["2"]], [2], [[]], []])
def test_a_plan_whose_blocks_do_not_fit_its_clips_counts_as_absent(seven, sizes):
    rows = list(range(2))
    clips, spec = seven.read(*NAMES[:2]), toy_spec()
    manifest, contents = clips.manifest, clips.contents
    plan = make_plan(manifest, rows, contents, spec, "f", block_rows=9, batch_s=9.0, threads=1, keep_frames=False)
    path = seven.cache / "plan.json"
    plan.save(path)
    assert Plan.load(path) == plan
    body = path.read_bytes()[76:]
    blocks = b'"blocks":[[2]]' if b'"blocks":[[2]]' in body else b'"blocks":[[1,1]]'
    assert blocks in body
    body = body.replace(blocks, b'"blocks":' + json.dumps(sizes, separators=(",", ":")).encode())
    path.write_bytes(b'{"sha256":"%b",' % hashlib.sha256(body).hexdigest().encode() + body)
    assert Plan.load(path) is None
