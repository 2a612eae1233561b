"""Presets of ONNX files: their windows are those of the file's own runtime."""

import numpy as np
import pytest

from features.backbones import describe, get_record, load
from features.backbones.contract.checks import Subject, frames_match_the_spec
from features.backbones.contract.clips import make_clips, usual_lengths
from features.backbones.golden.clips import golden_clips
from tests.features.backbones.presets.agreement import agrees
from tests.paths import SHARED

SPEECH = SHARED / "weights" / "speech-embedding" / "speech_embedding.onnx"


@pytest.fixture(scope="module")
def entry():
    """The speech embedding with its file."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if not SPEECH.is_file():
        pytest.skip("no ../shared/weights/speech-embedding next to the checkout")
    return {"name": "speech-embedding", "weights": str(SPEECH)}


def test_a_clips_windows_are_those_of_the_runtime(entry, make_clips):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(SPEECH), providers=["CPUExecutionProvider"])
    (clip,) = make_clips(12_512 + 2 * 1_280 + 5)
    (frames,) = load(entry).embed([clip])
    padded = np.pad(clip, (0, 1_280 - 5))
    assert frames.shape == (1, 4, 96)
    for at, values in enumerate(frames[0]):
        window = padded[at * 1_280 :][:12_512]
        (expected,) = session.run(None, {session.get_inputs()[0].name: window[None]})
        np.testing.assert_allclose(values, expected.reshape(96), rtol=1e-4, atol=1e-4)


def test_windows_of_a_call_do_not_change_each_other(entry):
    backbone = load(entry)  # its mel front end cuts off what is 80 dB below the loudest window of a call
    clips = golden_clips(16_000)
    assert backbone.spec.settings["batched"] is False
    for together, clip in zip(backbone.embed(clips), clips, strict=True):
        np.testing.assert_array_equal(together, backbone.embed([clip])[0])


def test_windows_that_overlap_by_many_hops_have_the_stated_number_of_frames(entry):
    backbone = load(entry)
    subject = Subject(backbone, make_clips(*usual_lengths(16_000)), lambda: load(entry))
    assert frames_match_the_spec(subject) == "1 layers, 96 dimensions, 12.5 frames/s"


def test_the_record_is_that_of_the_file(entry):
    agrees(get_record("speech-embedding"), describe(entry))
