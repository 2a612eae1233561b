"""Training objectives of the encoder: the teacher's embeddings, contrast between clips, and spectra of frames."""

from __future__ import annotations

import math

import torch
import torchaudio
from torch import Tensor
from torch.nn import functional

from recipes.nano.clips import SAMPLE_RATE

TEMPERATURE = 0.1
FRAME, FRAME_HOP = 400, 320  # samples of one frame of the encoder, and from one frame to the next
N_MELS, LOW_HZ, HIGH_HZ = 40, 60.0, 7800.0
SPECTRAL_DIM = 2 * N_MELS
FLOOR = 1e-5  # added to mel energies; about 60 dB below those of a typical clip
MASK_FRAMES, MASK_STARTS = 10, 0.02  # spans of 0.2 s over about 18 % of the frames


def frames_in(samples: int) -> int:
    """Return the number of whole encoder frames in a number of samples."""
    return (samples - FRAME) // FRAME_HOP + 1


def evened(targets: Tensor) -> Tensor:
    """Take the square root of the teacher's activations, since most are zero and a few are large."""
    return targets.clamp_min(0).sqrt()


def teacher_distance(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error relative to predicting zero, plus one minus the cosine.

    Both arguments are centred and have shape (B, windows, 1024).
    """
    error = functional.mse_loss(predicted, wanted) / wanted.square().mean()
    return error + 1 - functional.cosine_similarity(predicted, wanted, dim=-1).mean()


def contrast(embedded: Tensor) -> Tensor:
    """Return SimCLR's loss (Chen et al. 2020) for embeddings (2B, D); row i and row i + B belong to the same clip."""
    unit = functional.normalize(embedded, dim=1)
    half = len(unit) // 2
    similarity = (unit @ unit.T / TEMPERATURE).masked_fill(
        torch.eye(len(unit), dtype=torch.bool, device=unit.device), -math.inf
    )
    return functional.cross_entropy(similarity, torch.arange(len(unit), device=unit.device).roll(half))


def spectra(waveforms: Tensor) -> Tensor:
    """Compute log-mels and their deltas for each encoder frame: standardised waveforms (B, T) to (B, F, 80)."""
    frames = waveforms.unfold(1, FRAME, FRAME_HOP) * torch.hann_window(FRAME, device=waveforms.device)
    power = torch.fft.rfft(frames, n=512).abs().square()  # [B, F, 257]
    bank = torchaudio.functional.melscale_fbanks(power.shape[-1], LOW_HZ, HIGH_HZ, N_MELS, SAMPLE_RATE)
    mels = torch.log(power @ bank.to(power) + FLOOR)
    deltas = torchaudio.functional.compute_deltas(mels.transpose(1, 2), win_length=5).transpose(1, 2)
    return torch.cat([mels, deltas], dim=-1)


def span_mask(rows: int, frames: int, seed: int) -> Tensor:
    """Draw the frames to mask, as in TERA (Liu et al. 2021): (rows, frames) bool, determined by the seed."""
    starts = torch.rand(rows, frames, generator=torch.Generator().manual_seed(seed)) < MASK_STARTS
    return (
        functional.max_pool1d(functional.pad(starts.float(), (MASK_FRAMES - 1, 0))[:, None], MASK_FRAMES, 1)
        .squeeze(1)
        .bool()
    )
