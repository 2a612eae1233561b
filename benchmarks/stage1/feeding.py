"""Speed of feeding a GPU: seconds of audio decoded, resampled and batched per second and core."""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from transformers import Wav2Vec2Config

from benchmarks.clips import manifest_of
from benchmarks.figures import Figure, ratio, timed_rounds
from benchmarks.matmul import model_flops
from features.audio.decoding import read_waveform
from features.backbones.base import pad
from features.inference.loader import decode_ahead
from features.planning.plan import make_plan
from features.spec import BackboneSpec
from features.store.content_keys import clip_contents

SAMPLE_RATE = 16_000
BATCH_S = 320.0  # as on a GPU
GPU_TFLOPS = 800.0  # assumed bf16 matrix rate of an H200; the goal is half of it
FORMATS = {"WAV": "wav", "FLAC": "flac", "MP3": "mp3", "Ogg Vorbis": "ogg"}
RATES = (16_000, 22_050, 44_100, 48_000)
GOALS = {"16 kHz WAV": 2500.0, "44.1 kHz FLAC": 900.0}


def feeding_figures(sounds: Sequence[Path], rounds: int) -> list[Figure]:
    """Measure feeding rates for the corpus' own files, and for the same sounds in other formats and sample rates.

    Rates are per CPU second of all threads, so other programs on the machine matter little. The last figures compare
    the time of several decoding threads, and of as many processes, with that of one thread.
    """
    seconds_at = GPU_TFLOPS * 1e12 / 2 / model_flops(Wav2Vec2Config(), 1, SAMPLE_RATE * 10) * 10
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"the corpus' own files": list(sounds)}
        for (kind, suffix), sample_rate in itertools.product(FORMATS.items(), RATES):
            files[f"{sample_rate / 1000:g} kHz {kind}"] = _converted(sounds, folder, suffix, sample_rate)
        rates: dict[str, list[float]] = {what: [] for what in files}
        for _ in range(rounds):
            for what, paths in files.items():
                rates[what].append(_rate(paths, folder))
        for what, measured in rates.items():
            rate = statistics.median(measured)
            details = {f"cores for a GPU at half of {GPU_TFLOPS:g} TFLOP/s (computed)": seconds_at / rate}
            unit = "s of audio per s and core"
            figures.append(Figure(f"feeding alone, {what}", rate, unit, GOALS.get(what), details=details))
        figures += _scaling(files["44.1 kHz FLAC"], rounds)
    return figures


def _scaling(paths: Sequence[Path], rounds: int) -> list[Figure]:
    """Compare threads and processes with one thread, by the clock: Python's lock would show here."""
    cores = os.cpu_count() or 1
    read = partial(read_waveform, sample_rate=SAMPLE_RATE)
    ways: dict[str, Callable[[], Any]] = {"one": lambda: [read(path) for path in paths]}
    with ThreadPoolExecutor(cores) as threads, ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as processes:
        list(processes.map(read, paths[:cores]))  # starts them
        ways["threads"] = lambda: list(threads.map(read, paths))
        ways["processes"] = lambda: list(processes.map(read, paths, chunksize=8))
        measured = timed_rounds(ways, rounds)
    return [
        Figure(f"{cores} decoding {way}, 44.1 kHz FLAC", ratio(measured["one"][0], measured[way][0]), "× one thread")
        for way in ("threads", "processes")
    ]


def _converted(sounds: Sequence[Path], folder: Path, suffix: str, sample_rate: int) -> list[Path]:
    """Write sounds in another format and at another sample rate."""
    target = folder / f"{suffix}{sample_rate}"
    target.mkdir()
    paths = [target / f"{number:04d}.{suffix}" for number in range(len(sounds))]
    for sound, path in zip(sounds, paths, strict=True):
        sf.write(path, read_waveform(sound, sample_rate).samples, sample_rate)
    return paths


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
