"""The interface of every backbone: padded waveforms and their lengths in, `Frames` out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError, WeightsError
from features.numerics import full_float32
from features.system.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from features.pooling import Frames
    from features.spec import BackboneSpec


@dataclass(frozen=True)
class Bundle:
    """A backbone's files, copied to a folder.

    Attributes:
        files: Option -> its new value, a name in the folder.
        options: Other options that change for these files, with their new values.
    """

    files: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)


class Backbone(ABC):
    """A frozen network (or a fixed transform) that turns waveforms into frame embeddings.

    Neural backbones have `module`, and their `forward` is differentiable.

    Attributes:
        compiled: Whether `forward` runs compiled; None until it is requested.
        budget: Padded samples per batch that fit in this device's memory; None: not known yet.
        prepare: Prepares one clip (T,) on the host for `forward_prepared`. Stage 1 calls it in its decoding threads,
            next to the model. None: `forward` needs only the samples.
        measure: Measures the time of a part of `forward`; stage 1 sets it.
    """

    spec: BackboneSpec
    device: torch.device
    module: Any = None
    compiled: bool | None = None
    budget: int | None = None
    prepare: Callable[[np.ndarray], Any] | None = None
    measure: Callable[[str], AbstractContextManager[None]] = staticmethod(lambda part: nullcontext())

    @abstractmethod
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """Embed a padded batch.

        Args:
            waveforms: (B, T) float32 on `device`; samples beyond a clip's length are ignored.
            lengths: (B,) valid samples, each at least `spec.min_samples`; on the CPU, so that reading them does
                not wait for a device.

        Returns:
            `Frames` with values (B, L, F, D); each clip's valid frames depend on that clip alone.
        """

    def forward_prepared(self, inputs: Sequence[Any], lengths: Tensor) -> Frames:
        """Embed clips that `prepare` has prepared.

        Args:
            inputs: Its result for each clip.
            lengths: (B,) valid samples, on the CPU.

        Returns:
            The same as `forward`.
        """
        raise NotImplementedError(f"{self.spec.title} prepares nothing on the host")

    def graph(self, n_layers: int | None = None) -> nn.Module | None:
        """Return an fp32 module for `torch.export` that maps one waveform (1, T) to its frames (1, L, F, D).

        Args:
            n_layers: L, the number of layers to compute, from the first; None: all. A network ends after the last one.

        Returns:
            The module; None if the backbone cannot be exported, so that only what follows the frames can be.
        """
        return None

    def compile(self) -> bool:
        """Compile the network at its next use; return False if there is nothing to compile."""
        return False

    @property
    def parameters(self) -> int | None:
        """Number of parameters; None if it is not known."""
        return None if self.module is None else sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def device_name(self) -> str:
        """Name of the device, for messages."""
        import torch

        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    def embed_batch(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """Run `forward` without gradients and with full float32 products; inputs may be on any device."""
        import torch

        with full_float32(), torch.inference_mode():
            return self.forward(waveforms.to(self.device), lengths.cpu())

    def embed_prepared(self, inputs: Sequence[Any], lengths: Tensor) -> Frames:
        """Run `forward_prepared` as `embed_batch` runs `forward`."""
        import torch

        with full_float32(), torch.inference_mode():
            return self.forward_prepared(inputs, lengths.cpu())

    def embed(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Embed clips as stage 1 does: short ones padded to the minimum, long ones in windows.

        Args:
            waveforms: 1-D float32 arrays at `spec.sample_rate` Hz.

        Returns:
            One (L, F, D) float32 array per clip, padding removed.

        Raises:
            ValueError: A clip is empty or not one-dimensional.
        """
        import numpy as np

        results = []
        for clip in waveforms:
            if np.ndim(clip) != 1 or len(clip) == 0:
                raise ValueError(f"expected a 1-D waveform with at least one sample, got shape {np.shape(clip)}")
        windows = [split_windows(clip, self.spec.max_samples) for clip in waveforms]
        single = [parts[0] for parts in windows if len(parts) == 1]
        embedded = iter(self._embed_padded(single) if single else [])
        for parts in windows:
            if len(parts) == 1:
                results.append(next(embedded))
            else:
                results.append(np.concatenate([self._embed_padded([part])[0] for part in parts], axis=1))
        return results

    def _embed_padded(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Embed clips that are no longer than a window, in one batch."""
        waveforms, lengths = pad(clips, self.spec.min_samples)
        frames = self.embed_batch(waveforms, lengths)
        values = frames.values.float().cpu().numpy()
        return [values[i, :, : int(n)] for i, n in enumerate(frames.lengths)]


def split_windows(clip: np.ndarray, max_samples: int) -> list[np.ndarray]:
    """Split a clip into consecutive windows of `max_samples`; the last one may be shorter."""
    return [clip[start : start + max_samples] for start in range(0, len(clip), max_samples)]


def pad(clips: Sequence[np.ndarray], min_samples: int, *, pinned: bool = False) -> tuple[Tensor, Tensor]:
    """Zero-pad clips to one (B, T) batch; a clip shorter than `min_samples` counts as that long.

    Args:
        clips: 1-D arrays.
        min_samples: The shortest length a clip may have.
        pinned: Use pinned memory, which a CUDA device can copy asynchronously.

    Returns:
        Waveforms (B, T) float32 and lengths (B,) int64.
    """
    import torch

    lengths = [max(len(clip), min_samples) for clip in clips]
    waveforms = torch.zeros(len(clips), max(lengths), pin_memory=pinned)
    for row, clip in zip(waveforms.numpy(), clips, strict=True):
        row[: len(clip)] = clip
    return waveforms, torch.tensor(lengths)


def check_precision(precision: str) -> torch.dtype:
    """Return the torch dtype of `fp32`, `bf16` or `fp16`.

    Raises:
        ConfigError: The precision is none of these.
    """
    import torch

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in dtypes:
        raise ConfigError(f"precision {precision!r}: use one of {', '.join(dtypes)}")
    return dtypes[precision]


def check_device(device: str) -> str:
    """Return the device if it is available.

    Raises:
        ConfigError: The device is not available, or there is no such kind of device.
    """
    import torch

    try:
        if torch.device(device).type == "cuda" and (problem := _cuda_problem(torch.device(device).index or 0)):
            raise ConfigError(f"device {device!r} is not available: {problem}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if is_out_of_memory(error):
            reason = f"{reason}; its memory is full, nvidia-smi lists what uses it"
        raise ConfigError(f"device {device!r} is not available ({reason}); use cpu") from None
    return device


def _cuda_problem(index: int) -> str | None:
    """Return why there is no CUDA device of this number, and what to do; None if there is one or torch knows why."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch is built for the CPU only; install one that is built for CUDA, or use cpu"
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides all GPUs; unset it, or use cpu"
    count = torch.cuda.device_count()
    if not 0 < count <= index:
        return None
    named = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
    shown = f" (CUDA_VISIBLE_DEVICES={visible})" if visible else ""
    return f"there {'is one' if count == 1 else f'are {count}'} here, {named}{shown}; use one of these, or cpu"


def load_strictly(module: nn.Module, state: dict[str, Tensor], source: str, ignore: Iterable[str] = ()) -> None:
    """Load a state dict that must fit the module exactly.

    Raises:
        WeightsError: A tensor is missing, unexpected or of another shape; the message names it.
    """
    own = module.state_dict()
    ignored = tuple(ignore)
    for name, tensor in own.items():
        if name not in state:
            raise WeightsError(f"{source}: does not fit the architecture: {name!r} is missing")
        if state[name].shape != tensor.shape:
            raise WeightsError(
                f"{source}: does not fit the architecture: {name!r} has shape {tuple(state[name].shape)}, "
                f"expected {tuple(tensor.shape)}"
            )
    extra = [name for name in state if name not in own and not name.startswith(ignored or ("\0",))]
    if extra:
        raise WeightsError(f"{source}: does not fit the architecture: unexpected tensor {extra[0]!r}")
    module.load_state_dict({name: state[name] for name in own})
