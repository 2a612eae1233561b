"""Models that are not told how long each clip of a batch is: they get clips of equal length, never padding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.backbones.base import Backbone
from features.backbones.loading.import_paths import described
from features.errors import ConfigError, RunError

if TYPE_CHECKING:
    from torch import Tensor

    from features.pooling import Frames

SHORTEST_S = (0.1, 0.25, 0.5, 1.0, 2.0)  # tried in turn where nobody says what a model takes
LONG_S = 10.0  # of the clip that tells how frames grow
SAME, ALIKE = 1e-6, 1e-4  # relative errors: of the same clip twice; of a clip alone and in company
AXES = {2: "(clips, dimensions)", 3: "(clips, frames, dimensions)", 4: "(clips, layers, frames, dimensions)"}


@dataclass(frozen=True)
class OutputShape:
    """What a model was seen to give.

    Attributes:
        min_samples: The shortest clip that it takes.
        n_layers: L.
        dim: D.
        frame_rate: Frames per second.
        whole: Whether the number of frames is the same for clips of any length; a frame is then about all of a clip.
        batched: Whether a clip gets in company what it gets alone.
    """

    min_samples: int
    n_layers: int
    dim: int
    frame_rate: float
    whole: bool
    batched: bool

    def settings(self) -> dict[str, Any]:
        """What of it belongs in a spec beside the fields that a spec has."""
        return {"whole": self.whole, "batched": self.batched}


class UnpaddedBackbone(Backbone):
    """Clips of one length at a time through a model that knows nothing of padding.

    A frame that is about a whole window counts by the window's length where the windows of a long clip are joined.
    `spec.settings` holds `OutputShape.settings`.
    """

    @abstractmethod
    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) on `device` to (B, L, F, D)."""

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`."""
        import torch

        from features.pooling import Frames

        by_length: dict[int, list[int]] = {}
        for row, length in enumerate(lengths.tolist()):
            by_length.setdefault(length, []).append(row)
        if not self.spec.settings["batched"]:
            groups = [(length, [row]) for length, rows in by_length.items() for row in rows]
        else:
            groups = list(by_length.items())
        embedded = [self._checked(waveforms[rows, :length]) for length, rows in groups]
        counts = torch.zeros(len(lengths), dtype=torch.int64)
        clips: dict[int, Tensor] = {}
        for (_, rows), values in zip(groups, embedded, strict=True):
            for row, clip in zip(rows, values, strict=True):
                clips[row] = clip.transpose(0, 1)  # [F, L, D]
                counts[row] = len(clips[row])
        padded = torch.nn.utils.rnn.pad_sequence([clips[row] for row in range(len(lengths))], batch_first=True)
        weights = None
        if self.spec.settings["whole"]:
            weights = (lengths.float() / self.spec.max_samples)[:, None].expand(-1, padded.shape[1])
            weights = weights.to(padded.device)
        return Frames(padded.transpose(1, 2), counts, weights)

    def _checked(self, waveforms: Tensor) -> Tensor:
        import torch

        try:
            values = self.embed_equal(waveforms)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            seconds = waveforms.shape[1] / self.spec.sample_rate
            what = f"{len(waveforms)} clip(s) of {seconds:.2f} s"
            raise RunError(f"{self.spec.name}: the model fails on {what} with {described(error)}") from error
        expected = (len(waveforms), len(self.spec.layers), self.spec.dim)
        if values.ndim != 4 or (values.shape[0], values.shape[1], values.shape[3]) != expected:
            raise RunError(f"{self.spec.name}: the model gave {tuple(values.shape)}, expected (B, L, F, D) {expected}")
        return values


def as_layers(values: Any, n_clips: int) -> Tensor:
    """What a model gave, by its number of axes one of `AXES`, as (B, L, F, D) float32.

    Raises:
        ValueError: It is none of these.
    """
    import numpy as np
    import torch

    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))
    shapes = ", ".join(AXES.values())
    if tensor.ndim not in AXES or not tensor.is_floating_point():
        shape = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
        raise ValueError(f"gave {shape}; should be floating point, {shapes}")
    if len(tensor) != n_clips or 0 in tensor.shape:
        raise ValueError(f"gave shape {tuple(tensor.shape)} for {n_clips} clip(s); should be {shapes}")
    while tensor.ndim < 4:
        tensor = tensor[:, None]
    return tensor.float()


def probe(
    name: str,
    embed: Callable[[Tensor], Tensor],
    sample_rate: int,
    min_duration_s: float | None = None,
    frame_rate: float | None = None,
) -> OutputShape:
    """Find out what a model takes and gives, on a few seconds of noise.

    Args:
        name: The backbone, for messages.
        embed: (B, T) to (B, L, F, D).
        sample_rate: Hz.
        min_duration_s: The shortest clip that it takes; None: the first of `SHORTEST_S` that it does.
        frame_rate: Frames per second; None: as they grow with length.

    Raises:
        ConfigError: It fails, gives another answer each time, or what is not finite.
    """
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    noise = torch.from_numpy(0.1 * rng.standard_normal((2, round(LONG_S * sample_rate))).astype(np.float32))

    def run(clips: Tensor) -> Tensor:
        with torch.inference_mode():
            return embed(clips.clone()).float().cpu()

    shortest, first = _shortest(name, run, noise, sample_rate, min_duration_s)
    try:
        longest = run(noise[:1])
        middle = noise[:, : max(shortest, sample_rate)]
        alone, again, together = run(middle[:1]), run(middle[:1]), run(middle)[:1]
    except Exception as error:
        raise ConfigError(f"{name}: the model fails on noise with {described(error)}") from error
    if not all(bool(values.isfinite().all()) for values in (first, longest, alone)):
        raise ConfigError(f"{name}: the model gives values that are not finite for quiet noise")
    if _error(again, alone) > SAME:
        raise ConfigError(f"{name}: the model gives something else each time for the same clip; is dropout on in it?")
    if (first.shape[1], first.shape[3]) != (longest.shape[1], longest.shape[3]):
        short, long = tuple(first.shape[1:]), tuple(longest.shape[1:])
        raise ConfigError(f"{name}: layers or dimensions grow with the clip, from (L, F, D) {short} to {long}")
    grown = longest.shape[2] - first.shape[2]
    if frame_rate is None and grown:
        frame_rate = grown * sample_rate / (noise.shape[1] - shortest)
    return OutputShape(
        min_samples=shortest,
        n_layers=longest.shape[1],
        dim=longest.shape[3],
        frame_rate=frame_rate if frame_rate and grown else longest.shape[2] / LONG_S,
        whole=not grown,
        batched=_error(together, alone) <= ALIKE,
    )


def _shortest(
    name: str, run: Callable[[Tensor], Tensor], noise: Tensor, sample_rate: int, min_duration_s: float | None
) -> tuple[int, Tensor]:
    """The samples of the shortest clip that a model takes, and what it gives for it."""
    tried = SHORTEST_S if min_duration_s is None else (min_duration_s,)
    for seconds in tried:
        samples = max(1, round(seconds * sample_rate))
        try:
            return samples, run(noise[:1, :samples])
        except Exception as error:
            if seconds == tried[-1]:
                hint = "" if min_duration_s is None else "; raise min_duration_s if it needs more"
                raise ConfigError(
                    f"{name}: the model fails on {seconds:g} s of noise with {described(error)}{hint}"
                ) from error
    raise AssertionError("nothing was tried")


def _error(values: Tensor, expected: Tensor) -> float:
    """‖a − b‖/‖b‖; infinite where shapes differ."""
    if values.shape != expected.shape:
        return float("inf")
    return float((values - expected).norm() / expected.norm().clamp(min=1e-12))
