"""The worklist: which clips of a corpus a cache file contains, and which remain to be computed."""

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
from features.store.verify import check_table


@dataclass(frozen=True)
class Worklist:
    """The clips of a corpus that a cache file contains and those it lacks.

    Attributes:
        path: The cache file.
        spec: The cache spec.
        corpus: The clips and their files.
        todo: Rows to compute, or whose failure has to be recorded.
        new: Rows of `todo` that are not in the file.
        changed: Rows of `todo` whose audio has changed.
        reused: Rows that are in the file and up to date.
        failed: Rows recorded as unusable whose audio is unchanged.
        table: The file; None if it does not exist.
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
        """The folder of an unfinished run, with its plan and shards."""
        return self.path.with_suffix(".parts")


def make_worklist(
    corpus: Corpus, backbone: BackboneSpec, settings: Settings, cache: Path, *, verify: bool = True
) -> Worklist:
    """Compare a corpus with its cache file; nothing is computed.

    Args:
        corpus: The clips and their files.
        backbone: The backbone's spec.
        settings: How to run.
        cache: The cache folder.
        verify: Verify every byte of the cache file; False checks only its ids and structure.

    Raises:
        CacheError: The file is damaged or from another version.
    """
    spec = settings.cache_spec(backbone)
    path = fp.cache_path(cache, corpus.manifest.name, spec, backbone.title)
    opened = check_table if verify else store.open_table
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
