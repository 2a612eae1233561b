"""What a cache file holds of a corpus, and what is left to compute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.corpus import Corpus
from features.planning.settings import Settings
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import table as store


@dataclass(frozen=True)
class Worklist:
    """What a cache file holds of a corpus and what it lacks.

    Attributes:
        path: The cache file.
        spec: The cache spec.
        corpus: The clips and their files.
        todo: Rows to compute, or whose failure has to be recorded.
        new: Rows of `todo` that the file has never seen.
        changed: Rows of `todo` whose audio is another than it was.
        reused: Rows that are there as they should be.
        failed: Rows recorded as unusable, which they still are.
        table: The file, if there is one.
    """

    path: Path
    spec: dict[str, Any]
    corpus: Corpus
    todo: np.ndarray
    new: np.ndarray
    changed: np.ndarray
    reused: np.ndarray
    failed: np.ndarray
    table: store.EmbeddingTable | None

    @property
    def parts(self) -> Path:
        """The folder of a run that is not finished: its plan and its shards."""
        return self.path.with_suffix(".parts")


def make_worklist(
    corpus: Corpus, backbone: BackboneSpec, settings: Settings, cache: Path, *, verify: bool = True
) -> Worklist:
    """Compare a corpus with its cache file, which is opened for this; nothing is computed.

    Args:
        corpus: The clips and their files.
        backbone: What embeds them.
        settings: How to run.
        cache: The cache folder.
        verify: Check every byte of the cache file; else only its ids and its structure.

    Raises:
        CacheError: The file is damaged or from another version.
    """
    spec = settings.cache_spec(backbone)
    path = fp.cache_path(cache, corpus.manifest.name, spec)
    opened = store.check_table if verify else store.open_table
    table = opened(path) if path.exists() else None
    ids = corpus.manifest.clips["id"]
    failed = seen = reused = np.zeros(len(ids), bool)
    if table is not None:
        failed = ids.isin(corpus.failures_in(table).keys()).to_numpy()
        seen = ids.isin({*table.ids, *table.failures}).to_numpy()
        reused = corpus.is_in(table) & ~failed
    wanted = np.arange(len(ids)) < (len(ids) if settings.limit is None else settings.limit)
    todo = wanted & ~(failed | reused)
    return Worklist(
        path=path,
        spec=spec,
        corpus=corpus,
        todo=np.flatnonzero(todo),
        new=np.flatnonzero(todo & ~seen),
        changed=np.flatnonzero(todo & seen),
        reused=np.flatnonzero(reused),
        failed=np.flatnonzero(failed),
        table=table,
    )
