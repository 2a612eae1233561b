"""Augmentation: each kind does what it should, nothing else, and uses only the step's own random numbers."""

import numpy as np
import pytest
import torch

from heads.finetuning.augmentation import Augmenter
from heads.finetuning.options import Augment

ALL = {
    "time_mask_frames": 8,
    "frequency_mask_bands": 5,
    "noise": 0.1,
    "gain": [0.5, 2.0],
    "time_shift_s": 0.5,
    "mixup": 0.4,
}


def batch(size=6, frames=40, bands=12):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(size, frames, bands, generator=generator)
    lengths = torch.tensor([frames, frames, 30, 20, 10, frames])[:size]
    return inputs, lengths, torch.eye(3)[torch.arange(size) % 3]


def augmented(seed=0, decibels=False, **options):
    augmenter = Augmenter(Augment(**options), frame_rate=20.0, decibels=decibels)
    return augmenter(*batch(), np.random.default_rng(seed), seed)


def test_off_changes_nothing():
    for before, after in zip(batch(), augmented(), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("name", ALL)
def test_each_kind_changes_something_and_repeats(name):
    options = {name: ALL[name]}
    inputs, _, _ = augmented(**options)
    assert not torch.equal(inputs, batch()[0])
    assert torch.isfinite(inputs).all()
    torch.manual_seed(99)  # the process' own state does not matter
    np.random.seed(99)  # noqa: NPY002
    assert torch.equal(inputs, augmented(**options)[0])
    assert not torch.equal(inputs, augmented(seed=1, **options)[0])


def test_masks_are_stretches_within_the_clip_filled_with_silence():
    inputs, lengths, _ = batch()
    changed = augmented(time_mask_frames=8)[0]
    masked = (changed == 0).all(dim=2)
    for row, length in enumerate(lengths.tolist()):
        places = torch.nonzero(masked[row]).flatten()
        assert len(places) <= 8
        assert len(places) == 0 or places[-1] - places[0] == len(places) - 1
        assert len(places) == 0 or places[-1] < length
    assert torch.equal(changed[~masked], inputs[~masked])
    bands = (augmented(frequency_mask_bands=5)[0] == 0).all(dim=1)
    assert bands.any()
    assert bands.sum(dim=1).max() <= 5


def test_masks_of_decibels_hold_the_mean():
    inputs = batch()[0]
    changed = augmented(time_mask_frames=8, decibels=True)[0]
    row = int(torch.nonzero((changed != inputs).any(dim=2))[0, 0])
    values = changed[row][(changed[row] != inputs[row])]
    assert torch.allclose(values, inputs[row].mean())


def test_gain_multiplies_and_adds_to_decibels():
    inputs = batch()[0]
    ratio = augmented(gain=[0.5, 2.0])[0] / inputs
    assert torch.allclose(ratio, ratio[:, :1, :1], rtol=1e-4)
    assert (ratio > 0.49).all()
    assert (ratio < 2.01).all()
    added = augmented(gain=[0.5, 2.0], decibels=True)[0] - inputs
    assert torch.allclose(added, 10 * ratio.log10(), atol=1e-4)
    untouched = augmented(gain=[0.5, 2.0], gain_p=0.0)[0]
    assert torch.equal(untouched, inputs)


def test_a_shift_is_circular_within_the_valid_frames():
    inputs, lengths, _ = batch()
    changed = augmented(time_shift_s=1.0)[0]
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(changed[row, length:], inputs[row, length:])
        shifts = [
            shift for shift in range(length) if torch.equal(changed[row, :length], inputs[row, :length].roll(shift, 0))
        ]
        assert len(shifts) == 1


def test_mixup_mixes_inputs_and_targets_alike():
    inputs, lengths, targets = batch()
    mixed, longer, shares = augmented(mixup=0.4)
    assert torch.allclose(shares.sum(dim=1), torch.ones(len(shares)))
    for row in range(len(inputs)):
        if torch.allclose(mixed[row], inputs[row], atol=1e-2):
            continue  # mixed with itself, or hardly at all
        [partner] = [
            other for other in range(len(inputs)) if other != row and _is_mix(mixed[row], inputs[row], inputs[other])
        ]
        assert _is_mix(shares[row], targets[row], targets[partner])
        assert longer[row] == max(lengths[row], lengths[partner])


def _is_mix(mixed, one, other):
    direction = (other - one).flatten()
    if not direction.any():
        return torch.allclose(mixed, one)
    share = torch.dot((mixed - one).flatten(), direction) / direction.square().sum()
    return torch.allclose(mixed, one + share * (other - one), atol=1e-4) and -1e-4 <= share <= 1 + 1e-4
