"""How stage 1 runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from features.planning.windows import Windows
from features.spec import BackboneSpec
from features.store import fingerprint as fp


@dataclass(frozen=True)
class Settings:
    """How stage 1 runs, beside what it computes.

    Attributes:
        pooling: Any of mean, std, max, frames.
        precision: `fp32`, `bf16` or `fp16`; `auto` until `features.planning.precision.settle` has decided.
        compile: Compile the network: `true`, `false`, or `auto`: where the remaining audio repays it.
        frame_layers: Layers whose frames are kept; None: all.
        frame_dtype: `float32` or `float16`, of kept frames.
        resample: `cpu`, or `device`: there, a batch at a time.
        window_overlap_s: Of the windows of long clips, see `features.planning.windows`.
        block_rows: Clips of a block: what a kill costs at most, and what is handed out.
        batch_s: Padded seconds of a batch; None: by device.
        threads: Torch threads; None: as torch has it.
        workers: Decoding threads; None: by device.
        device: Torch device.
        limit: Compute at most this many clips (the first of the manifest).
        precision_check: How reduced precision differed from fp32 in this run; None: not measured.
    """

    pooling: tuple[str, ...] = ("mean",)
    precision: str = "fp32"
    compile: bool | Literal["auto"] = False
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
        """All that decides the values of the cache file.

        Raises:
            ConfigError: Windows of this backbone cannot overlap that much.
        """
        Windows.of(backbone, self.window_overlap_s)
        return fp.cache_spec(
            *(backbone, self.pooling, self.precision, self.frame_layers, self.frame_dtype, self.window_overlap_s),
            resample=self.resample,
        )
