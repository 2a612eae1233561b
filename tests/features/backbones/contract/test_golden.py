"""Golden vectors: every file is about a preset, its numbers are what this program computes, and errors are seen."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from features.backbones import load, names
from features.backbones.contract.checks import CHECKS, GOLDEN, ContractError, Subject, checks_of, why_not_compared
from features.backbones.golden.clips import golden_clips, noise
from features.backbones.golden.vectors import FOLDER, N_NUMBERS, TOLERANCE, Golden, find_golden, selected
from features.backbones.loading.availability import missing_extra
from features.backbones.loading.weights import BUNDLED_FOLDER
from tests.paths import SHARED

FILES = {
    "birdnet-2.4": SHARED / "weights" / "birdnet.tflite",
    "ge2e": SHARED / "weights" / "ge2e" / "ge2e.pt",
    "speech-embedding": SHARED / "weights" / "speech-embedding" / "speech_embedding.onnx",
    "whisper-base": SHARED / "weights" / "whisper-base-encoder",
    "yamnet": SHARED / "weights" / "yamnet.tflite",
}
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
# those that are embedded in about two seconds of a CPU, at least one of each kind of front end
QUICK = {
    *("birdnet-2.4", "compare2016", "ecapa-voxceleb", "egemaps", "ge2e", "panns-cnn14", "speech-embedding", "yamnet"),
    *("distilhubert", "encodec-24khz", "vggish", "wav2vec2-nano", "whisper-tiny"),
}
SLOW = {"pe-a-frame-small", "wav2vec2-emotion-msp-dim"}  # many samples, and 164 million parameters


def tier(name):
    """The mark of a preset's test."""
    return () if name in QUICK else pytest.mark.slow if name in SLOW else pytest.mark.thorough


def loaded(name):
    """The backbone of a preset with its published weights, or with the seeded ones of its golden vectors."""
    if extra := missing_extra(name):
        pytest.skip(f"audioheads[{extra}] is not installed")
    if find_golden(name).weights == "seeded":
        return load({"name": name, "weights": "random"})
    file = FILES.get(name)
    if file is not None and not file.exists():
        pytest.skip(f"no {file} next to the checkout")
    return load({"name": name, **({} if file is None else {"weights": str(file)})})


@pytest.mark.parametrize("name", [pytest.param(name, marks=tier(name)) for name in NAMES])
def test_a_preset_has_its_publishers_values(name):
    backbone, golden = loaded(name), find_golden(name)
    assert golden.is_of(backbone.spec)
    assert golden.error(backbone.embed(golden_clips(golden.sample_rate))) <= TOLERANCE
    assert GOLDEN in checks_of(backbone)


def test_every_file_is_about_a_preset_and_says_where_it_is_from():
    assert {*QUICK, *FILES} <= set(NAMES) <= set(names())
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
    made = Golden(spec.name, "this program", "none", "", spec.sample_rate, spec.settings, shapes, numbers)
    return replace(made, **changes)


def test_another_value_or_another_shape_is_an_error(tmp_path, monkeypatch):
    backbone = load({"name": "logmel"})
    golden = golden_of(backbone)
    subject = Subject(backbone, [], lambda: backbone)
    monkeypatch.setattr("features.backbones.golden.vectors.FOLDER", tmp_path)
    golden.write(tmp_path)
    assert find_golden("logmel") == golden
    check = checks_of(backbone)[GOLDEN]
    assert check(subject) == "relative error 0.0e+00"

    wrong = [list(numbers) for numbers in golden.numbers]
    wrong[1][-1] *= 1.01
    replace(golden, numbers=wrong).write(tmp_path)
    with pytest.raises(ContractError, match="the values differ from those of this program: relative error"):
        check(subject)
    replace(golden, shapes=[[1, 1, 1]] * 3).write(tmp_path)
    with pytest.raises(ContractError, match="relative error inf"):
        check(subject)


def test_published_weights_in_another_file_are_compared(tmp_path):
    folder = shutil.copytree(BUNDLED_FOLDER / "wav2vec2-nano", tmp_path / "nano")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state | {"head.weight": torch.ones(2)}, folder / "pytorch_model.bin")
    backbone = load({"name": "wav2vec2-nano", "weights": str(folder)})
    golden = find_golden("wav2vec2-nano")
    assert not golden.is_of(backbone.spec) and golden.fits(backbone)
    assert checks_of(backbone)[GOLDEN](Subject(backbone, [], lambda: backbone)).startswith("relative error")
    assert why_not_compared(backbone) is None

    state["encoder.layer_norm.weight"][0] += 0.01
    torch.save(state, folder / "pytorch_model.bin")
    changed = load({"name": "wav2vec2-nano", "weights": str(folder)})
    assert not golden.fits(changed)
    assert why_not_compared(changed) == "known for other weights or settings only"


def test_a_preset_whose_vectors_are_of_random_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("features.backbones.golden.vectors.FOLDER", tmp_path)
    backbone = load({"name": "wav2vec2-nano"})
    golden_of(backbone, weights="seeded", weights_sha256="00").write(tmp_path)
    assert why_not_compared(backbone) == "known for random weights only: --set weights=random"


def test_vectors_of_other_weights_or_settings_are_not_compared(tmp_path, monkeypatch):
    backbone = load({"name": "logmel"})
    monkeypatch.setattr("features.backbones.golden.vectors.FOLDER", tmp_path)
    for changes in ({"weights_sha256": "00"}, {"settings": {}}, {"sample_rate": 8_000}):
        golden_of(backbone, **changes).write(tmp_path)
        assert checks_of(backbone) == CHECKS
        assert why_not_compared(backbone) == "known for other weights or settings only"
