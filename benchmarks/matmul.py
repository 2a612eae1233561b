"""The fraction of this machine's matrix-multiply rate that Wav2Vec2-base reaches on 5 s clips.

The rate is measured before and after every pass through the model, in the same precision, on matrices as large as the
model's products at this batch size. The model's operations are counted from its architecture.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks.figures import Figure
from features import backbones
from features.backbones.base import check_precision
from features.inference.compilation import compile_network

CLIPS, CLIP_S = 4, 5.0  # a batch of stage 1 on a CPU: 20 s
SQUARE = 2048


def model_flops(config: Any, clips: int, samples: int) -> float:
    """Return the operations of an encoder's matrix products and convolutions; a multiply-add counts as two."""
    frames, channels, total = samples, 1, 0.0
    for dim, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
        total += 2 * frames * kernel * channels * dim
        channels = dim
    hidden, inner = config.hidden_size, config.intermediate_size
    total += 2 * frames * channels * hidden
    total += 2 * frames * hidden * hidden // config.num_conv_pos_embedding_groups * config.num_conv_pos_embeddings
    total += config.num_hidden_layers * (2 * frames * (4 * hidden**2 + 2 * hidden * inner) + 4 * frames**2 * hidden)
    return clips * total


def matmul_rate(dtype: torch.dtype, device: str = "cpu", repeats: int = 3) -> float:
    """Return the operations per second of a square matrix product: the best of `repeats` runs."""
    left, right = (torch.randn(SQUARE, SQUARE, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        product = left @ right
        if product.is_cuda:
            torch.cuda.synchronize()
        best = max(best, 2 * SQUARE**3 / (time.perf_counter() - started))
    return best


def matmul_figures(rounds: int, device: str) -> list[Figure]:
    """Measure the fraction in fp32 and bf16, eager and compiled."""
    goals = {("fp32", True): 0.85, ("bf16", False): 0.70} if device == "cpu" else {}
    figures = []
    for precision in ("fp32", "bf16"):
        plain, compiled = (
            backbones.load({"name": "wav2vec2-base", "weights": "random"}, device, precision) for _ in range(2)
        )
        notes: list[str] = []
        compile_s = compile_network(compiled, notes.append)
        samples = round(CLIP_S * plain.spec.sample_rate)
        waveforms = torch.randn(CLIPS, samples, generator=torch.Generator().manual_seed(0))
        lengths = torch.full((CLIPS,), samples)
        exact, fast = (model.embed_batch(waveforms, lengths).values.float() for model in (plain, compiled))
        flops = model_flops(plain.module.config, CLIPS, samples)
        shares: dict[bool, list[float]] = {False: [], True: []}
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(max(5, rounds)):
            for is_compiled, model in ((False, plain), (True, compiled)):
                before = matmul_rate(check_precision(precision), device)
                started = time.perf_counter()
                model.embed_batch(waveforms, lengths).values.float().mean().item()
                seconds[is_compiled].append(time.perf_counter() - started)
                rate = (before + matmul_rate(check_precision(precision), device)) / 2
                shares[is_compiled].append(flops / seconds[is_compiled][-1] / rate)
        for is_compiled in (False, True):
            details: dict[str, Any] = {"GFLOP/s": flops / statistics.median(seconds[is_compiled]) / 1e9}
            if is_compiled:
                gain = statistics.median(seconds[False]) - statistics.median(seconds[True])
                details["compile s"] = compile_s
                details["error against eager"] = float((fast - exact).norm() / exact.norm())
                details["repaid after h of audio"] = CLIPS * CLIP_S * compile_s / gain / 3600 if gain > 0 else "never"
                details |= {"note": notes[0]} if notes else {}
            figures.append(
                Figure(
                    f"Wav2Vec2-base, 5 s clips, {precision}, {'compiled' if is_compiled else 'eager'}",
                    statistics.median(shares[is_compiled]),
                    "of the matmul rate",
                    at_least=goals.get((precision, is_compiled)),
                    details=details,
                )
            )
    return figures
