"""One block of the plan through the model: decoded batches in, rows for the cache out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from features.audio import stream_windows
from features.backbones.base import Backbone, pad
from features.batches import Decoded, check_unchanged
from features.errors import AudioError
from features.plan import Plan, PlannedClip
from features.pooling import POOLINGS, Frames, Moments
from features.seal import Rows
from features.survey import Settings


class Progress(Protocol):
    """Who wants to know how far stage 1 is."""

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Work begins: clips and seconds of audio to compute, clips already there."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """A batch is done."""

    def note(self, message: str) -> None:
        """Something worth a line in the log."""


def compute_block(
    plan: Plan,
    block: Sequence[Sequence[int]],
    decoded: Iterator[Decoded],
    backbone: Backbone,
    settings: Settings,
    progress: Progress,
) -> tuple[Rows, dict[str, Any]]:
    """Embed the clips of one block.

    Args:
        plan: The plan.
        block: Batches of positions in the plan's clips.
        decoded: Gives these batches' samples, in order.
        backbone: What embeds them.
        settings: Which poolings and frames to keep.
        progress: Told after each batch.

    Returns:
        The rows, and what went into them, see `EmbeddingTable.cost`.
    """
    started = time.perf_counter()
    rows = Rows(frames=[] if "frames" in settings.pooling else None)
    methods = [method for method in POOLINGS if method in settings.pooling]
    pooled: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    audio_s = 0.0
    for positions in block:
        failures: list[tuple[PlannedClip, str]] = []
        for part in _embed(plan, next(decoded), backbone, settings, failures):
            finite = torch.isfinite(part.moments.mean).all(dim=(1, 2)).cpu().numpy()
            failures += [(clip, "its embedding is not finite") for at, clip in enumerate(part.clips) if not finite[at]]
            for at in np.flatnonzero(finite):
                clip = part.clips[at]
                rows.ids.append(clip.id)
                rows.keys.append(clip.key)
                rows.durations_s.append(clip.native_s)
                rows.n_frames.append(part.n_frames[at])
                if rows.frames is not None:
                    rows.frames.append(part.frames[at])
            for method in methods:
                pooled[method].append(part.moments.pooled(method).cpu().numpy()[finite])
        rows.failures.extend((clip.id, _key_to_blame(clip), reason) for clip, reason in failures)
        seconds = sum(plan.clips[position].native_s for position in positions)
        audio_s += seconds
        progress.advance(len(positions), seconds, len(failures))
    rows.pooled = {method: np.concatenate(values) for method, values in pooled.items() if values}
    cost = {
        "clips": sum(map(len, block)),
        "audio_s": audio_s,
        "compute_s": time.perf_counter() - started,
        "parameters": backbone.parameters,
        "device": backbone.device_name,
    }
    return rows, cost


def _key_to_blame(clip: PlannedClip) -> str:
    """The content key that a failure is about; empty, so that it is tried again, where the file has changed."""
    try:
        check_unchanged(clip)
    except AudioError:
        return ""
    return clip.key


@dataclass(frozen=True)
class _Embedded:
    """Some clips' moments, frame counts and, where kept, frames (F, L, D)."""

    clips: list[PlannedClip]
    moments: Moments
    n_frames: list[int]
    frames: list[np.ndarray]


def _embed(
    plan: Plan,
    decoded: Decoded,
    backbone: Backbone,
    settings: Settings,
    failures: list[tuple[PlannedClip, str]],
) -> Iterator[_Embedded]:
    """A decoded batch through the model; what cannot be read goes to `failures`."""
    failures += [(plan.clips[row], reason) for row, reason in decoded.failures()]
    batch = decoded.batch(backbone.spec.min_samples, backbone.spec.sample_rate)
    if batch is not None:
        frames = backbone.embed_batch(batch.waveforms, batch.lengths)
        kept = _kept_frames(frames, backbone, settings)
        clips = [plan.clips[row] for row in batch.rows]
        yield _Embedded(clips, Moments.of(frames, settings.pooling), frames.lengths.tolist(), kept)
    for row in decoded.streamed():
        try:
            yield _embed_long(plan.clips[row], backbone, settings)
        except AudioError as error:
            failures.append((plan.clips[row], str(error)))


def _embed_long(clip: PlannedClip, backbone: Backbone, settings: Settings) -> _Embedded:
    """A clip in windows, each a clip of its own to the model; memory does not grow with its length."""
    spec = backbone.spec
    moments: Moments | None = None
    n_frames, kept = 0, []
    for window in stream_windows(Path(clip.path), spec.sample_rate, spec.max_samples, clip.start_s, clip.duration_s):
        frames = backbone.embed_batch(*pad([window], spec.min_samples))
        part = Moments.of(frames, settings.pooling)
        moments = part if moments is None else moments.join(part)
        n_frames += int(frames.lengths[0])
        kept += _kept_frames(frames, backbone, settings)
    check_unchanged(clip)
    if moments is None:
        raise AudioError("holds no samples")
    return _Embedded([clip], moments, [n_frames], [np.concatenate(kept)] if kept else [])


def _kept_frames(frames: Frames, backbone: Backbone, settings: Settings) -> list[np.ndarray]:
    """Each clip's valid frames of the layers to keep, (F, L, D); nothing where none are kept."""
    if "frames" not in settings.pooling:
        return []
    layers = list(backbone.spec.layers if settings.frame_layers is None else settings.frame_layers)
    values = frames.values[:, layers].transpose(1, 2).float().cpu().numpy().astype(settings.frame_dtype)
    return [clip[:count] for clip, count in zip(values, frames.lengths.tolist(), strict=True)]
