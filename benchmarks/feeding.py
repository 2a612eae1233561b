"""Speed of feeding a GPU: seconds of audio decoded, resampled and batched per second and core."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile as sf
from transformers import Wav2Vec2Config

from benchmarks.clips import manifest_of
from benchmarks.figures import Figure
from benchmarks.matmul import model_flops
from features.backbones.base import pad
from features.inference.loader import decode_ahead
from features.planning.plan import make_plan
from features.spec import BackboneSpec
from features.store.content_keys import clip_contents

SAMPLE_RATE = 16_000
BATCH_S = 320.0  # as on a GPU
GPU_TFLOPS = 400.0  # assumed bf16 matrix rate; the goal is half of it
WAV_CLIPS, WAV_S = 200, 5.0


def feeding_figures(sounds: Sequence[Path], rounds: int) -> list[Figure]:
    """Measure feeding rates for the corpus' own files and for WAV files at the model's sample rate."""
    seconds_at = GPU_TFLOPS * 1e12 / 2 / model_flops(Wav2Vec2Config(), 1, SAMPLE_RATE * 10) * 10
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for what, paths in (("44.1 kHz clips", list(sounds)), ("16 kHz WAV files", _wav_files(Path(name)))):
            rates = [_rate(paths, Path(name)) for _ in range(rounds)]
            rate = statistics.median(rates)
            figures.append(
                Figure(
                    f"feeding alone, {what}",
                    rate,
                    "s of audio per s and core",
                    details={f"cores for a GPU at half of {GPU_TFLOPS:g} TFLOP/s (computed)": seconds_at / rate},
                )
            )
    return figures


def _rate(paths: Sequence[Path], folder: Path) -> float:
    """Return seconds of audio decoded, resampled and padded per CPU second."""
    manifest = manifest_of(paths)
    spec = BackboneSpec("feed", "none", "none", "", SAMPLE_RATE, (0,), 1, 50.0, 0.025, 30.0)
    contents = clip_contents(manifest, folder, save=False)
    plan = make_plan(
        manifest,
        np.arange(len(manifest)),
        contents,
        spec,
        "",
        block_rows=256,
        batch_s=BATCH_S,
        threads=1,
        keep_frames=False,
    )
    batches = [batch for block in plan.blocks for batch in block]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        started = time.process_time()
        for decoded in decode_ahead(plan.clips, batches, SAMPLE_RATE, spec.max_samples, pool):
            pad([wave.samples for _, wave in decoded.usable()], spec.min_samples)
        spent = time.process_time() - started
    return sum(clip.native_s for clip in plan.clips) / spent


def _wav_files(folder: Path) -> list[Path]:
    """Write WAV files of noise at the model's sample rate."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(WAV_S * SAMPLE_RATE)).astype(np.float32)
    paths = [folder / f"{number}.wav" for number in range(WAV_CLIPS)]
    for path in paths:
        sf.write(path, noise, SAMPLE_RATE, subtype="PCM_16")
    return paths
