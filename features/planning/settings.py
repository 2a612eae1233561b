"""Settings of stage 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from features.planning.windows import Windows
from features.spec import BackboneSpec
from features.store import fingerprint as fp


@dataclass(frozen=True)
class Settings:
    """How stage 1 runs.

    Attributes:
        pooling: Any of mean, std, max, frames.
        precision: `fp32`, `bf16` or `fp16`; `auto` until `features.planning.precision.settle` resolves it.
        compile: Compile the network: `true`, `false`, or `auto` to compile if the remaining audio repays it.
        dtype: Type of stored vectors, `float32` or `float16`.
        frame_layers: Layers whose frames are stored; None for all.
        frame_dtype: Type of stored frames, `float32` or `float16`.
        resample: Where audio is resampled: `cpu`, or `device` for whole batches on the model's device.
        window_overlap_s: Overlap of the windows of long clips in seconds, see `features.planning.windows`.
        block_rows: Clips per block. An interrupted run loses at most one block; blocks are distributed to workers.
        batch_s: Padded seconds per batch; None for the device's default.
        threads: Torch threads; None for torch's default.
        workers: Decoding threads; None for the device's default.
        device: Torch device.
        limit: Compute at most this many clips (the first of the manifest).
        precision_check: The difference between reduced precision and fp32 in this run; None if not measured.
    """

    pooling: tuple[str, ...] = ("mean",)
    precision: str = "fp32"
    compile: bool | Literal["auto"] = False
    dtype: str = "float32"
    frame_layers: tuple[int, ...] | None = None
    frame_dtype: str = "float32"
    window_overlap_s: float = 0.0
    resample: str = "cpu"
    block_rows: int = 256
    batch_s: float | None = None
    threads: int | None = None
    workers: int | None = None
    device: str = "cpu"
    limit: int | None = None
    precision_check: dict[str, Any] | None = None

    def cache_spec(self, backbone: BackboneSpec) -> dict[str, Any]:
        """Return everything that determines the values of the cache file.

        Raises:
            ConfigError: The window overlap is too large for this backbone.
        """
        Windows.of(backbone, self.window_overlap_s)
        return fp.cache_spec(
            *(backbone, self.pooling, self.precision, self.frame_layers, self.frame_dtype, self.window_overlap_s),
            resample=self.resample,
            dtype=self.dtype,
        )
