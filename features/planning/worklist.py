"""What a cache file holds of a manifest, and what is left to compute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.manifest import Manifest
from features.planning.settings import Settings
from features.records import Records
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import table as store
from features.store.content_keys import ClipContent, clip_contents


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
