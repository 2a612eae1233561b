"""What a cache file holds of a manifest, and what is left to compute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from features.manifest import Manifest
from features.planning.windows import Windows
from features.records import Records
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import table as store
from features.store.content_keys import ClipContent, clip_contents


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
        rehash: Read every file to see whether it changed.
        drift: How reduced precision differed from fp32 in this run, see `features.planning.precision`; None: not measured.
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
    rehash: bool = False
    drift: dict[str, Any] | None = None

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


@dataclass(frozen=True)
class Work:
    """What a cache file holds of a manifest and what it lacks.

    Attributes:
        path: The cache file.
        spec: The cache spec.
        contents: Of every manifest row.
        todo: Rows to compute, or whose failure has to be recorded.
        new: Rows of `todo` that the file has never seen.
        changed: Rows of `todo` whose audio is another than it was.
        reused: Rows that are there as they should be.
        failed: Rows recorded as unusable, which they still are.
        table: The file, if there is one.
    """

    path: Path
    spec: dict[str, Any]
    contents: Records[ClipContent]
    todo: np.ndarray
    new: np.ndarray
    changed: np.ndarray
    reused: np.ndarray
    failed: np.ndarray
    table: store.EmbeddingTable | None


def survey(
    manifest: Manifest,
    backbone: BackboneSpec,
    settings: Settings,
    cache: Path,
    *,
    save_keys: bool = True,
    verify: bool = True,
) -> Work:
    """Compare a manifest with its cache file; nothing is computed.

    Args:
        manifest: The clips.
        backbone: What embeds them.
        settings: How to run.
        cache: The cache folder.
        save_keys: Remember the files' digests for the next time; else nothing is written.
        verify: Check every byte of the cache file; else only its ids and its structure.

    Raises:
        CacheError: The file is damaged or from another version.
    """
    spec = settings.cache_spec(backbone)
    path = fp.cache_path(cache, manifest.name, spec)
    contents = clip_contents(manifest, cache / manifest.name, settings.rehash, save=save_keys)
    opened = store.check_table if verify else store.open_table
    table = opened(path) if path.exists() else None
    known = table.present() if table else {}
    failed = known_failures(table, manifest, contents)
    seen = {*table.ids, *table.failures} if table else set()
    todo: list[int] = []
    new: list[int] = []
    changed: list[int] = []
    reused: list[int] = []
    unusable: list[int] = []
    for row, (clip, content) in enumerate(zip(manifest.clips["id"], contents, strict=True)):
        if clip in failed:
            unusable.append(row)
        elif content.key and known.get(clip) == content.key:
            reused.append(row)
        elif settings.limit is None or row < settings.limit:
            (changed if clip in seen else new).append(row)
            todo.append(row)
    rows = {"todo": todo, "new": new, "changed": changed, "reused": reused, "failed": unusable}
    return Work(path, spec, contents, table=table, **{name: np.array(some, np.int64) for name, some in rows.items()})


def known_failures(
    table: store.EmbeddingTable | None, manifest: Manifest, contents: Records[ClipContent]
) -> dict[str, str]:
    """Clips whose audio, as it is now, is recorded as unusable: id -> reason."""
    if table is None or not table.failures:
        return {}
    failed = {}
    for clip, content in zip(manifest.clips["id"], contents, strict=True):
        key, reason = table.failures.get(clip, (None, ""))
        if key == content.key and (key or reason == content.failure):
            failed[clip] = reason
    return failed
