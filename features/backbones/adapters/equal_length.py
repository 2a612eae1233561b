"""Models without an argument for clip lengths: they get batches of clips of equal length, never padding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.backbones.base import Backbone
from features.backbones.loading.import_paths import described
from features.errors import ConfigError, RunError
from features.system.device_errors import is_device_failure
from features.system.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

    from features.pooling import Frames

SHORTEST_S = (0.1, 0.25, 0.5, 1.0, 2.0)  # lengths to try if the minimum length is not configured
LONG_S = 10.0  # length of the clip that shows how the number of frames grows
SAME, ALIKE = 1e-6, 1e-4  # relative error allowed between two runs of a clip; between a clip alone and in a batch
AXES = {2: "(clips, dimensions)", 3: "(clips, frames, dimensions)", 4: "(clips, layers, frames, dimensions)"}


@dataclass(frozen=True)
class OutputShape:
    """The measured output shape of a model.

    Attributes:
        min_samples: The shortest clip that it takes, in samples.
        n_layers: L.
        dim: D.
        frame_rate: Frames per second.
        whole: Whether the number of frames does not depend on the clip's length; a frame then covers the whole clip.
        batched: Whether a clip's embedding is the same in a batch as alone.
    """

    min_samples: int
    n_layers: int
    dim: int
    frame_rate: float
    whole: bool
    batched: bool

    def settings(self) -> dict[str, Any]:
        """Return the values that are stored in a spec's `settings`."""
        return {"whole": self.whole, "batched": self.batched}


class UnpaddedBackbone(Backbone):
    """Base class for a model that cannot mask padding: each call embeds clips of one length.

    When the windows of a long clip are pooled, a frame that covers a whole window is weighted by the window's length.
    `spec.settings` contains `OutputShape.settings`.
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
        # rows one by one: a list as an index is copied to the device, and the host waits for that
        equal = [torch.stack([waveforms[row, :length] for row in rows]) for length, rows in groups]
        embedded = [self._checked(clips) for clips in equal]
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
            weights = weights.to(padded.device, non_blocking=True)
        return Frames(padded.transpose(1, 2), counts, weights)

    def _checked(self, waveforms: Tensor) -> Tensor:
        try:
            values = self.embed_equal(waveforms)
        except Exception as error:
            if is_out_of_memory(error) or is_device_failure(error):
                raise
            seconds = waveforms.shape[1] / self.spec.sample_rate
            what = f"{len(waveforms)} clip(s) of {seconds:.2f} s"
            raise RunError(f"{self.spec.title}: the model fails on {what} with {described(error)}") from error
        expected = (len(waveforms), len(self.spec.layers), self.spec.dim)
        if values.ndim != 4 or (values.shape[0], values.shape[1], values.shape[3]) != expected:
            shape = tuple(values.shape)
            raise RunError(f"{self.spec.title}: the model returned shape {shape}, expected (B, L, F, D) {expected}")
        return values


def as_layers(values: Any, n_clips: int) -> Tensor:
    """Convert a model's output to (B, L, F, D) float32; its number of axes selects the layout from `AXES`.

    Raises:
        ValueError: The output is not floating point, has another shape, or another number of clips.
    """
    import numpy as np
    import torch

    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))
    shapes = ", ".join(AXES.values())
    if tensor.ndim not in AXES or not tensor.is_floating_point():
        shape = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
        raise ValueError(f"returned {shape}; should be floating point, {shapes}")
    if len(tensor) != n_clips or 0 in tensor.shape:
        raise ValueError(f"returned shape {tuple(tensor.shape)} for {n_clips} clip(s); should be {shapes}")
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
    """Measure the minimum length and the output shape of a model, on a few seconds of noise.

    Args:
        name: The backbone, for messages.
        embed: (B, T) to (B, L, F, D).
        sample_rate: Hz.
        min_duration_s: The shortest clip that it takes, in seconds; None: the first of `SHORTEST_S` that works.
        frame_rate: Frames per second; None: measured from the growth of frames with length.

    Raises:
        ConfigError: The model fails, is not deterministic, or returns values that are not finite.
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
        raise ConfigError(f"{name}: the model returns values that are not finite for quiet noise")
    if output_error(again, alone) > SAME:
        raise ConfigError(f"{name}: the model returns different values for the same clip; is dropout switched on?")
    if (first.shape[1], first.shape[3]) != (longest.shape[1], longest.shape[3]):
        short, long = tuple(first.shape[1:]), tuple(longest.shape[1:])
        raise ConfigError(f"{name}: layers or dimensions depend on the clip's length: (L, F, D) {short} and {long}")
    grown = longest.shape[2] - first.shape[2]
    if frame_rate is None and grown:
        frame_rate = grown * sample_rate / (noise.shape[1] - shortest)
    return OutputShape(
        min_samples=shortest,
        n_layers=longest.shape[1],
        dim=longest.shape[3],
        frame_rate=frame_rate if frame_rate and grown else longest.shape[2] / LONG_S,
        whole=not grown,
        batched=output_error(together, alone) <= ALIKE,
    )


def _shortest(
    name: str, run: Callable[[Tensor], Tensor], noise: Tensor, sample_rate: int, min_duration_s: float | None
) -> tuple[int, Tensor]:
    """Return the length in samples of the shortest clip that a model takes, and its output for it."""
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


def output_error(values: Tensor, expected: Tensor) -> float:
    """Return the relative error ‖a − b‖/‖b‖, or infinity if the shapes differ."""
    if values.shape != expected.shape:
        return float("inf")
    return float((values - expected).norm() / expected.norm().clamp(min=1e-12))
