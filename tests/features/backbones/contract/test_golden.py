"""Golden vectors: every file is about a preset, its numbers are what this program computes, and errors are seen."""

from dataclasses import replace

import numpy as np
import pytest

from features.backbones import load, presets
from features.backbones.contract.checks import CHECKS, GOLDEN, ContractError, Subject, checks_of
from features.backbones.golden.clips import golden_clips, noise
from features.backbones.golden.vectors import FOLDER, N_NUMBERS, TOLERANCE, Golden, find_golden, selected
from features.backbones.loading.availability import missing_extra
from tests.paths import SHARED

FILES = {
    "birdnet-2.4": SHARED / "weights" / "birdnet.tflite",
    "ge2e": SHARED / "weights" / "ge2e" / "ge2e.pt",
    "speech-embedding": SHARED / "weights" / "speech-embedding" / "speech_embedding.onnx",
    "yamnet": SHARED / "weights" / "yamnet.tflite",
}
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
LARGE = {  # networks that take seconds
    "aves-bio",
    "beats-iter3-plus-as2m",
    "dasheng-base",
    "m2d-mr7",
    "muq-large-msd-iter",
    "openl3-env",
    "passt-s-swa-p16-128-ap476",
}


def loaded(name):
    """The backbone of a preset with its published weights, or with the seeded ones of its golden vectors."""
    if extra := missing_extra(name):
        pytest.skip(f"audioheads[{extra}] is not installed")
    if find_golden(name).weights == "seeded":
        return load({"name": name, "weights": "random"})
    file = FILES.get(name)
    if file is not None and not file.is_file():
        pytest.skip(f"no {file} next to the checkout")
    return load({"name": name, **({} if file is None else {"weights": str(file)})})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough if name in LARGE else ()) for name in NAMES]
)
def test_a_preset_has_its_publishers_values(name):
    backbone, golden = loaded(name), find_golden(name)
    assert golden.is_of(backbone.spec)
    assert golden.error(backbone.embed(golden_clips(golden.sample_rate))) <= TOLERANCE
    assert GOLDEN in checks_of(backbone.spec)


def test_every_file_is_about_a_preset_and_says_where_it_is_from():
    assert {"egemaps", "compare2016", "panns-cnn14", *FILES} <= set(NAMES) <= set(presets())
    for name in NAMES:
        golden = find_golden(name)
        assert golden.preset == name and golden.publisher
        assert golden.weights in ("published", "seeded", "none")
        assert (golden.weights == "none") is (golden.weights_sha256 == "")
        assert len(golden.shapes) == len(golden.numbers) == 3
        assert {len(numbers) for numbers in golden.numbers} == {N_NUMBERS}
        assert all(any(numbers) for numbers in golden.numbers)


def test_numbers_are_values_at_equal_distances_or_sums_if_those_are_zero():
    frames = np.arange(61, dtype=np.float32).reshape(1, 61, 1)
    assert selected(frames) == [float(4 * at) for at in range(N_NUMBERS)]
    sparse = np.where(frames % 4 == 1, 1, 0)  # 0 at all of these
    assert sum(selected(sparse)) == 15 and selected(sparse)[0] == 1


def test_the_clips_are_the_same_everywhere():
    expected = [state / (2**31 - 1) * 2 - 1 for state in (48_271, 182_605_794, 1_291_394_886)]  # Park and Miller 1988
    np.testing.assert_array_equal(noise(3), expected)
    clips = golden_clips(16_000)
    assert [len(clip) for clip in clips] == [11_200, 20_800, 46_400]
    assert all(clip.dtype == np.float32 and np.abs(clip).max() <= 0.5 for clip in clips)
    assert clips[0][1] == np.float32(0.4 * np.sin(2 * np.pi * (200 / 16_000 + 1_200 / 16_000**2)))


def golden_of(backbone, **changes):
    """Golden vectors that a backbone computed itself."""
    spec = backbone.spec
    frames = backbone.embed(golden_clips(spec.sample_rate))
    shapes = [list(clip.shape) for clip in frames]
    numbers = [selected(clip) for clip in frames]
    made = Golden("logmel", "this program", "none", "", spec.sample_rate, spec.settings, shapes, numbers)
    return replace(made, **changes)


def test_another_value_or_another_shape_is_an_error(tmp_path, monkeypatch):
    backbone = load({"name": "logmel"})
    golden = golden_of(backbone)
    subject = Subject(backbone, [], lambda: backbone)
    monkeypatch.setattr("features.backbones.golden.vectors.FOLDER", tmp_path)
    golden.write(tmp_path)
    assert find_golden("logmel") == golden
    check = checks_of(backbone.spec)[GOLDEN]
    assert check(subject) == "relative error 0.0e+00"

    wrong = [list(numbers) for numbers in golden.numbers]
    wrong[1][-1] *= 1.01
    replace(golden, numbers=wrong).write(tmp_path)
    with pytest.raises(ContractError, match="the values differ from those of this program: relative error"):
        check(subject)
    replace(golden, shapes=[[1, 1, 1]] * 3).write(tmp_path)
    with pytest.raises(ContractError, match="relative error inf"):
        check(subject)


def test_vectors_of_other_weights_or_settings_are_not_compared(tmp_path, monkeypatch):
    backbone = load({"name": "logmel"})
    monkeypatch.setattr("features.backbones.golden.vectors.FOLDER", tmp_path)
    for changes in ({"weights_sha256": "00"}, {"settings": {}}, {"sample_rate": 8_000}):
        golden_of(backbone, **changes).write(tmp_path)
        assert checks_of(backbone.spec) == CHECKS
