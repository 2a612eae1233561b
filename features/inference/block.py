"""The output of the model for the clips of a block, checked and in the stored types, until the block is written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from features.errors import AudioError
from features.inference.device_transfer import ToHost
from features.inference.frame_buffer import FrameBuffer
from features.inference.loader import check_unchanged
from features.planning.plan import PlannedClip
from features.planning.settings import Settings
from features.pooling import POOLINGS
from features.store.writer import CacheRows

FLOAT16_OVERFLOW = f"exceed {np.finfo(np.float16).max:.0f}, the largest float16; set features.%s to float32"


@dataclass(frozen=True)
class Embedded:
    """The model's output for some clips.

    Attributes:
        clips: B clips.
        n_frames: B frame counts.
        arriving: pooling -> (B, L, D) float32, always with `mean`; with pooling `frames` also `frames` (B, F, L, D).
        frames: The frames of each clip, (F, L, D), if they are not in `arriving`.
    """

    clips: list[PlannedClip]
    n_frames: list[int]
    arriving: ToHost
    frames: list[FrameBuffer] | None = None


@dataclass
class Batch:
    """One embedded batch of the plan.

    Attributes:
        block: The number of its block.
        last: Whether it is the last batch of the block.
        clips: Number of clips.
        audio_s: Seconds of audio, with clips that fail.
        parts: The model's output.
        failures: (clip, reason, whether the content is the cause) of clips that could not be embedded.
    """

    block: int
    last: bool
    clips: int
    audio_s: float
    parts: list[Embedded] = field(default_factory=list)
    failures: list[tuple[PlannedClip, str, bool]] = field(default_factory=list)

    @property
    def embedded_s(self) -> float:
        """Seconds of audio without the clips that failed, whose headers may state any length."""
        return max(0.0, self.audio_s - sum(clip.native_s for clip, *_ in self.failures))

    def fail(self, clip: PlannedClip, reason: str, *, content: bool = True) -> None:
        """Record that a clip cannot be embedded.

        Args:
            clip: The clip.
            reason: Why.
            content: Whether the content is the cause; if not, the next run tries again.
        """
        self.failures.append((clip, reason, content))


class Block:
    """The rows of an incomplete block."""

    def __init__(self, settings: Settings) -> None:
        """Start without rows.

        Args:
            settings: Which poolings and frames to store, and in which types.
        """
        self._settings = settings
        self._methods = [method for method in POOLINGS if method in settings.pooling]
        self._rows = CacheRows(frames=[] if "frames" in settings.pooling else None)
        self._pooled: dict[str, list[np.ndarray]] = {method: [] for method in self._methods}
        self._clips, self._audio_s = 0, 0.0
        self._warm = 0, 0.0
        self._rounding_error: float | None = None if settings.dtype == "float32" else 0.0

    def cost(self) -> dict[str, float | None]:
        """Return clips and seconds of audio, also without those of the warm-up, and the largest rounding error."""
        clips, audio_s = self._warm
        steady = {"steady_clips": self._clips - clips, "steady_audio_s": self._audio_s - audio_s}
        return {"clips": self._clips, "audio_s": self._audio_s, **steady, "rounding_error": self._rounding_error}

    def end_warm_up(self) -> None:
        """Count the clips so far as warm-up."""
        self._warm = self._clips, self._audio_s

    def add(self, batch: Batch) -> None:
        """Add a batch; clips of which a value to be stored is not finite are added to its failures."""
        for part in batch.parts:
            values = {name: tensor.numpy() for name, tensor in part.arriving.wait().items()}
            stored = {method: _rounded(values[method], self._settings.dtype) for method in self._methods}
            flaws = [self._flaw(values, stored, part, at) for at in range(len(part.clips))]
            finite = np.array([flaw is None for flaw in flaws], bool)
            for at, clip in enumerate(part.clips):
                if (flaw := flaws[at]) is not None:
                    batch.fail(clip, flaw)
                    continue
                self._rows.ids.append(clip.id)
                self._rows.keys.append(clip.key)
                self._rows.durations_s.append(clip.native_s)
                self._rows.n_frames.append(part.n_frames[at])
                if self._rows.frames is not None:
                    kept = values["frames"][at, : part.n_frames[at]] if part.frames is None else part.frames[at]
                    self._rows.frames.append(kept)
            for method in self._methods:
                self._pooled[method].append(stored[method][finite])
                if self._rounding_error is not None:
                    error = _relative_error(stored[method][finite], values[method][finite])
                    self._rounding_error = max(self._rounding_error, error)
        for clip, reason, content in batch.failures:
            self._rows.failures.append((clip.id, _failure_key(clip) if content else "", reason))
        self._clips += batch.clips
        self._audio_s += batch.embedded_s

    def _flaw(
        self, values: dict[str, np.ndarray], stored: dict[str, np.ndarray], part: Embedded, at: int
    ) -> str | None:
        """Return why a clip cannot be stored: which of its values are not finite; None if all are finite."""
        if not np.isfinite(values["mean"][at]).all():
            return "its embedding is not finite"
        for method in self._methods:
            if not np.isfinite(values[method][at]).all():
                return f"the {method} of its frames is not finite"
            if not np.isfinite(stored[method][at]).all():
                return f"values of its {method} {FLOAT16_OVERFLOW % 'dtype'}"
        if self._rows.frames is None or self._settings.frame_dtype != "float16":  # then the mean shows it
            return None
        frames = part.frames[at] if part.frames is not None else values["frames"][at, : part.n_frames[at]]
        finite = frames.finite if isinstance(frames, FrameBuffer) else np.isfinite(frames).all()
        return None if finite else f"its frames {FLOAT16_OVERFLOW % 'frame_dtype'}"

    def rows(self) -> CacheRows:
        """Return all rows, ready to be written."""
        self._rows.pooled = {method: np.concatenate(values) for method, values in self._pooled.items() if values}
        return self._rows


def _rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return values in the type in which they are stored; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def _relative_error(rounded: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest ‖rounded - exact‖ / ‖exact‖ of the vectors on the last axis; 0 if there are none."""
    lengths = np.linalg.norm(exact, axis=-1)
    errors = np.linalg.norm(rounded.astype(np.float32) - exact, axis=-1)
    return float(np.divide(errors, lengths, out=np.zeros_like(errors), where=lengths > 0).max(initial=0.0))


def _failure_key(clip: PlannedClip) -> str:
    """Return the content key to record with a failure; empty if the file has changed, so that it is tried again."""
    try:
        check_unchanged(clip)
    except AudioError:
        return ""
    return clip.key
