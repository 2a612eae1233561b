"""The fingerprint covers every setting that changes a value, and nothing else."""

import dataclasses
import json

import pytest

from features.audio import decoding
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store.fingerprint import backbone_of, cache_path, cache_spec, fingerprint
from tests.features.toys import toy_spec

SPEC = toy_spec(settings={"normalize": True, "normalize_assumed": False, "config_sha256": "c"})
CHANGED = {
    "family": "other",
    "weights_sha256": "other",
    "sample_rate": 16000,
    "layers": (0, 2),
    "dim": 5,
    "frame_rate": 50.0,
    "min_duration_s": 0.5,
    "max_duration_s": 20.0,
    "settings": {**SPEC.settings, "normalize": False},
}
SAME = {
    "name": "alias",
    "label": "in this config",
    "weights": "elsewhere/on/this/disk",
    "settings": {**SPEC.settings, "normalize_assumed": True},
}


def of(spec=SPEC, pooling=("mean",), **options):
    return fingerprint(cache_spec(spec, pooling, **options))


def test_every_field_of_a_backbone_is_covered_here():
    assert {field.name for field in dataclasses.fields(BackboneSpec)} == CHANGED.keys() | SAME.keys()


@pytest.mark.parametrize("field", CHANGED)
def test_each_field_that_changes_a_value_counts(field):
    assert of(dataclasses.replace(SPEC, **{field: CHANGED[field]})) != of()


@pytest.mark.parametrize("field", SAME)
def test_names_and_places_do_not_count(field):
    assert of(dataclasses.replace(SPEC, **{field: SAME[field]})) == of()


def test_a_setting_that_appears_counts():
    assert of(dataclasses.replace(SPEC, settings={**SPEC.settings, "new": None})) != of()


def test_what_is_kept_and_how_precisely_counts():
    options = [
        {},
        {"pooling": ("std",)},
        {"pooling": ("mean", "std")},
        {"pooling": ("mean", "frames")},
        {"pooling": ("mean", "frames"), "frame_layers": [1]},
        {"pooling": ("mean", "frames"), "frame_dtype": "float16"},
        {"pooling": ("mean", "frames"), "dtype": "float16"},
        {"precision": "bf16"},
        {"precision": "fp16"},
    ]
    assert len({of(**each) for each in options}) == len(options)


def test_the_order_of_poolings_and_unused_frame_options_do_not_count():
    assert of(pooling=("std", "mean")) == of(pooling=("mean", "std"))
    assert of(frame_layers=[1], frame_dtype="float16") == of()
    assert of(pooling=("frames",), dtype="float16") == of(pooling=("frames",))
    assert of(pooling=("frames",), frame_layers=[0, 1]) == of(pooling=("frames",))


@pytest.mark.parametrize("key", list(decoding.AUDIO_SPEC))
def test_how_audio_is_read_counts(monkeypatch, key):
    before = of()
    monkeypatch.setattr(decoding, "AUDIO_SPEC", {**decoding.AUDIO_SPEC, key: "another way"})
    assert of() != before


def test_the_schema_counts(monkeypatch):
    before = of()
    monkeypatch.setattr(fp, "SCHEMA", 99)
    assert of() != before


def test_a_spec_comes_back_from_its_json(tmp_path):
    spec = cache_spec(SPEC, ("mean", "frames"))
    again = json.loads(json.dumps(spec))
    assert backbone_of(again) == SPEC
    assert fingerprint(again) == fingerprint(spec)
    assert cache_path(tmp_path, "birds", again) == tmp_path / "birds" / f"toy-{fingerprint(spec)[:12]}.h5"


def test_a_new_file_has_the_title_of_its_entry(tmp_path):
    spec = cache_spec(SPEC, ("mean",))
    assert cache_path(tmp_path, "birds", spec, "mine").name == f"mine-{fingerprint(spec)[:12]}.h5"


@pytest.mark.parametrize("ending", [".h5", ".parts", ".h5.lock", ".drift.json"])
def test_a_file_with_the_same_fingerprint_is_used_whatever_its_title(tmp_path, ending):
    spec = cache_spec(SPEC, ("mean",))
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / f"toy-{fingerprint(spec)[:12]}{ending}").touch()
    assert cache_path(tmp_path, "birds", spec, "mine").name == f"toy-{fingerprint(spec)[:12]}.h5"


def test_an_entrys_own_file_comes_first(tmp_path):
    spec = cache_spec(SPEC, ("mean",))
    (tmp_path / "birds").mkdir()
    for title in ("another", "mine", "toy"):
        (tmp_path / "birds" / f"{title}-{fingerprint(spec)[:12]}.h5").touch()
    assert cache_path(tmp_path, "birds", spec, "mine").name.startswith("mine-")
    assert cache_path(tmp_path, "birds", spec, "other").name.startswith("toy-")


def test_files_do_not_record_the_label():
    assert "label" not in cache_spec(dataclasses.replace(SPEC, label="mine"), ("mean",))["backbone"]
