"""Augmentation of training clips, on the device. All random draws come from the generators of the training step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heads.finetuning.options import Augment


@dataclass(frozen=True)
class Augmenter:
    """Augmentation of one kind of input.

    Attributes:
        options: The augmentation's settings.
        frame_rate: Frames (or samples) per second.
        decibels: Whether inputs are 10·log10 of power, so that a gain is added to them.
    """

    options: Augment
    frame_rate: float
    decibels: bool = False

    def __call__(
        self, inputs: Tensor, lengths: Tensor, targets: Tensor, rng: np.random.Generator, noise_seed: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Augment a batch; augmentations that are off use no random draws.

        Args:
            inputs: (B, F, D).
            lengths: (B,) valid frames.
            targets: (B, C) class probabilities.
            rng: Generator of positions and sizes.
            noise_seed: Seed of the noise.

        Returns:
            Augmented inputs, lengths and targets. With mixup, a clip's length is the longer of the two mixed clips.
        """
        options, size = self.options, len(inputs)
        if options.time_shift_s:
            inputs = _roll(inputs, lengths, rng.uniform(-1, 1, size) * options.time_shift_s * self.frame_rate)
        if options.gain:
            factor = np.where(rng.random(size) < options.gain_p, rng.uniform(*options.gain, size), 1.0)
            added = _column(10 * np.log10(factor), inputs)
            inputs = inputs + added if self.decibels else inputs * _column(factor, inputs)
        if options.noise:
            scale = options.noise * (rng.random(size) < options.noise_p)
            generator = torch.Generator(inputs.device).manual_seed(noise_seed)
            noise = torch.randn(inputs.shape, generator=generator, device=inputs.device)
            inputs = inputs + noise * _column(scale, inputs)
        if options.time_mask_frames or options.frequency_mask_bands:
            silence = inputs.mean(dim=(1, 2), keepdim=True) if self.decibels else inputs.new_zeros(())
            inputs = torch.where(self._masked(inputs, lengths, rng), silence, inputs)
        if options.mixup:
            weight = rng.beta(options.mixup, options.mixup, size)
            partner = torch.from_numpy(rng.permutation(size)).to(inputs.device)
            kept = _column(weight, inputs)
            inputs = kept * inputs + (1 - kept) * inputs[partner]
            targets = kept[:, :, 0] * targets + (1 - kept[:, :, 0]) * targets[partner]
            lengths = torch.maximum(lengths, lengths[partner.to(lengths.device)])
        return inputs, lengths, targets

    def _masked(self, inputs: Tensor, lengths: Tensor, rng: np.random.Generator) -> Tensor:
        """Draw the masks of SpecAugment (Park et al. 2019): (B, F, D) bool, True where masked."""
        options, (size, n_frames, n_bands) = self.options, inputs.shape
        masked = torch.zeros(size, n_frames, n_bands, dtype=torch.bool, device=inputs.device)
        longest = lengths.cpu().numpy()
        for _ in range(options.time_masks if options.time_mask_frames else 0):
            masked |= _stretch(longest, options.time_mask_frames, n_frames, rng, inputs.device)[:, :, None]
        for _ in range(options.frequency_masks if options.frequency_mask_bands else 0):
            bands = np.full(size, n_bands)
            masked |= _stretch(bands, options.frequency_mask_bands, n_bands, rng, inputs.device)[:, None, :]
        return masked


def _stretch(sizes: np.ndarray, widest: int, n: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Draw one span of up to `widest` positions within the size of each clip: (B, n) bool."""
    width = rng.uniform(0, np.minimum(widest, sizes))
    start = rng.uniform(0, sizes - width)
    edges = torch.from_numpy(np.floor(np.stack([start, start + width]))).to(device)
    positions = torch.arange(n, device=device)[None]
    return (positions >= edges[0][:, None]) & (positions < edges[1][:, None])


def _roll(inputs: Tensor, lengths: Tensor, shifts: np.ndarray) -> Tensor:
    """Shift each clip's valid frames circularly."""
    positions = torch.arange(inputs.shape[1], device=inputs.device)[None]
    size = lengths.to(inputs.device)[:, None]
    moved = (positions - torch.from_numpy(shifts.round().astype(np.int64)).to(inputs.device)[:, None]) % size
    source = torch.where(positions < size, moved, positions)
    return inputs.gather(1, source[:, :, None].expand_as(inputs))


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    """Reshape numbers (B,) to (B, 1, 1) on the device of `like`."""
    return torch.from_numpy(np.asarray(values, np.float32)).to(like.device)[:, None, None]
