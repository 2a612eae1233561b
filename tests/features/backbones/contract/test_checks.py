"""The checks of the contract notice a backbone that breaks it."""

import numpy as np
import pytest
import torch

from features.backbones.base import Backbone
from features.backbones.contract.checks import CHECKS, ContractError, Subject, relative_error, run_checks
from features.backbones.contract.clips import make_clips, usual_lengths
from features.pooling import Frames
from features.spec import BackboneSpec

RATE, HOP = 8_000, 80


class Means(Backbone):
    """Mean and mean square of frames of 10 ms; a mistake changes what it does."""

    def __init__(self, mistake=None):
        self.mistake = mistake
        self.device = torch.device("cpu")
        self.spec = BackboneSpec(
            name="means",
            family="test",
            weights="none",
            weights_sha256="",
            sample_rate=RATE,
            layers=(0,),
            dim=2,
            frame_rate=RATE / HOP,
            min_duration_s=HOP / RATE,
            max_duration_s=10.0,
        )

    def forward(self, waveforms, lengths):
        counts = lengths // HOP
        frames = waveforms[:, : int(counts.max()) * HOP].reshape(len(waveforms), 1, -1, HOP)
        values = torch.stack([frames.mean(3), frames.square().mean(3)], dim=3)
        if self.mistake == "neighbours":  # as batch normalisation in training mode
            values = values - 0.01 * values.mean(0, keepdim=True)
        elif self.mistake == "position":
            values = values * (1 + 0.01 * torch.arange(len(values))[:, None, None, None])
        elif self.mistake == "padding":  # as a mean over the padded clip
            values = values + 0.01 * waveforms.mean(1)[:, None, None, None]
        elif self.mistake == "silence":
            values = values / values.abs().amax((1, 2, 3), keepdim=True)
        elif self.mistake == "shape":
            counts = counts * 0 + 1
        elif self.mistake == "random":
            values = values + torch.rand(1)
        return Frames(values, counts)

    def embed(self, waveforms):
        if self.mistake == "shortest":
            return super().embed([np.pad(clip, (0, max(0, HOP - len(clip))), mode="edge") for clip in waveforms])
        if self.mistake == "longest":
            return super().embed([clip[: self.spec.max_samples] for clip in waveforms])
        return super().embed(waveforms)


def findings(mistake):
    """What holds, by the check's name."""
    subject = Subject(Means(mistake), make_clips(*usual_lengths(RATE)), lambda: Means(mistake))
    return {finding.name: finding for finding in run_checks(subject, limit_s=60)}


def test_a_correct_backbone_passes_every_check():
    found = findings(None)
    assert list(found) == list(CHECKS)
    assert all(finding.holds for finding in found.values()), found


@pytest.mark.parametrize(
    ("mistake", "check", "message"),
    [
        ("shape", "frames have the stated shape", r"gave \(1, 1, 2\) float32, expected \(1, about 5, 2\)"),
        ("neighbours", "a clip in a batch equals the clip alone", "differs from the clip alone: relative error"),
        ("position", "order and neighbours do not matter", "at most 1e-05 allowed"),
        ("padding", "samples beyond a clip are ignored", "samples beyond a clip change it: relative error"),
        ("silence", "silence is finite", "values that are not finite"),
        ("shortest", "the shortest clip is padded", "a short clip differs from the clip with zeros"),
        ("longest", "the longest clip is processed in windows", "a long clip differs from its windows: .* inf"),
        ("random", "loaded again, it gives the same", "a second instance gives other values"),
    ],
)
def test_each_mistake_is_found_by_its_check(mistake, check, message):
    finding = findings(mistake)[check]
    assert finding.holds is False
    with pytest.raises(ContractError, match=message):
        raise ContractError(finding.detail)


def test_checks_after_the_time_limit_are_skipped():
    subject = Subject(Means(), make_clips(*usual_lengths(RATE)), Means)
    assert {finding.holds for finding in run_checks(subject, limit_s=-1)} == {None}


def test_the_error_is_the_largest_over_layers():
    expected = np.ones((2, 3, 4), np.float32)
    values = expected.copy()
    values[1] *= 1.5
    assert relative_error(values, expected) == pytest.approx(0.5)
    assert relative_error(values[:, :2], expected) == float("inf")
