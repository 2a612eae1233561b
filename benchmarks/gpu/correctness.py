"""Every family on the device against the CPU in fp32, and memory that stays below its budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.figures import Figure
from benchmarks.gpu.models import CORRECTNESS, Model, Sizes
from features import backbones
from features.backbones.base import Backbone, pad
from features.inference.oom import Splitter, find_budget
from features.pooling import Frames

FP32_ERROR, BF16_COSINE = 1e-4, 0.9995


def family_figures(device: str, sizes: Sizes, tiny: bool) -> Iterator[Figure]:
    """Yield two figures per family: the largest fp32 error, and the smallest bf16 cosine of a clip's mean."""
    for model in CORRECTNESS:
        yield from _of_family(model, device, sizes, tiny)


def _of_family(model: Model, device: str, sizes: Sizes, tiny: bool) -> list[Figure]:
    entry = model.entry(tiny)
    reference = backbones.load(entry, "cpu", "fp32")
    clips = mixed_clips(reference, sizes.clips)
    expected = [frames for clip in clips for frames in reference.embed([clip])]
    exact = backbones.load(entry, device, "fp32").embed(clips)
    error = max(_error(got, want) for got, want in zip(exact, expected, strict=True))
    figures = [Figure(f"{model.name}, fp32: largest error against the CPU, clips alone", error, "", at_most=FP32_ERROR)]
    if backbones.get_family(backbones.family_of(model.name)).fp32_only:
        return figures
    reduced = backbones.load(entry, device, "bf16").embed(clips)
    cosine = min(_cosine(got, want) for got, want in zip(reduced, expected, strict=True))
    what = f"{model.name}, bf16: smallest cosine of a clip's mean, all layers"
    return [*figures, Figure(what, cosine, "", at_least=BF16_COSINE)]


def memory_figures(device: str, sizes: Sizes, tiny: bool) -> list[Figure]:
    """Return the peak of a batch as large as the budget, and the error of a batch that had to be split."""
    if not device.startswith("cuda"):
        return []
    backbone = backbones.load(CORRECTNESS[0].entry(tiny), device, "bf16")
    budget = find_budget(backbone, backbone.embed_batch)
    free, total = torch.cuda.mem_get_info(device)
    if budget is None:
        return [Figure("a batch of the budget's size: no budget was found", float("nan"), "of the free memory")]
    samples = 10 * backbone.spec.sample_rate
    rows = max(1, min(budget // samples, 20_000))
    torch.cuda.reset_peak_memory_stats(device)
    backbone.embed_batch(0.1 * torch.randn(rows, samples), torch.full((rows,), samples))
    peak = torch.cuda.max_memory_allocated(device) / free
    figures = [
        Figure(f"peak memory of {rows} clips of 10 s, the budget", peak, "of the free memory", at_most=0.95),
    ]
    del backbone
    torch.cuda.empty_cache()
    return [*figures, _split(device, sizes, tiny, total)]


def _split(device: str, sizes: Sizes, tiny: bool, total: int) -> Figure:
    """Return the error of a batch that does not fit and is split."""
    backbone = backbones.load(CORRECTNESS[0].entry(tiny), device, "fp32")
    clips = [clip for _ in range(8) for clip in mixed_clips(backbone, 16)]
    shortest = backbone.spec.min_samples
    expected = [frames for clip in clips for frames in backbone.embed([clip])]

    def embed(rows: range) -> Frames:
        return backbone.embed_batch(*pad(clips[rows.start : rows.stop], shortest))

    used = torch.cuda.memory_allocated(device)
    notes: list[str] = []
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (used + sizes.spare_bytes) / total), device)
    try:
        error = 0.0
        for part in Splitter(notes.append).run([max(len(clip), shortest) for clip in clips], embed):
            if part.result is None:
                error = float("inf")
                continue
            values = part.result.values.float().cpu().numpy()
            for at, row in enumerate(part.rows):
                count = int(part.result.lengths[at])
                error = max(error, _error(values[at, :, :count], expected[row]))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    details: dict[str, Any] = {"times split": len(notes)}
    what = f"forced out of memory, {len(clips)} clips: largest error"
    return Figure(what, error if notes else float("nan"), "", at_most=FP32_ERROR, details=details)


def mixed_clips(backbone: Backbone, count: int) -> list[np.ndarray]:
    """Return clips of many lengths and levels, from the shortest that the backbone takes to a few seconds."""
    spec, rng = backbone.spec, np.random.default_rng(0)
    longest = min(spec.max_samples, 3 * spec.sample_rate)
    lengths = np.linspace(spec.min_samples, longest, count).astype(int)
    clips = []
    for number, length in enumerate(rng.permutation(lengths)):
        tone = np.sin(np.arange(length) * rng.uniform(0.01, 0.5))
        clips.append((10.0 ** -(number % 3) * (0.3 * rng.standard_normal(length) + 0.3 * tone)).astype(np.float32))
    return clips


def _error(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest relative error of a layer."""
    if got.shape != expected.shape:
        return float("inf")
    differences = np.linalg.norm((got - expected).reshape(len(got), -1), axis=1)
    return float((differences / np.linalg.norm(expected.reshape(len(got), -1), axis=1)).max())


def _cosine(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the smallest cosine of a layer's mean over frames."""
    mine, theirs = got.mean(1), expected.mean(1)
    return float(((mine * theirs).sum(1) / (np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1))).min())
