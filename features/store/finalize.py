"""Finalize a cache: merge finished shards into it in one atomic step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from features.store import shard_set, verify
from features.store import table as store
from features.store.merge import copies, merge
from features.store.writer import write_file


def finalize(
    path: Path, spec: dict[str, Any], shards: Sequence[Path], failures: Iterable[tuple[str, str, str]]
) -> None:
    """Merge finished shards into a cache.

    A clip's row in a shard replaces its row in the old state. A failure is recorded in addition to an older row and
    does not replace it. Up to `shard_set.SET_BYTES` the rows are copied into one new file. Larger caches are sets: the
    folder of the shards is moved into the set, and only the index is rewritten.

    Args:
        path: The cache file; it need not exist.
        spec: The cache spec.
        shards: Shard files of one plan, in one folder; each is verified first.
        failures: (id, key, reason) found while planning.

    Raises:
        CacheError: A shard or the old file is damaged; nothing has changed.
        RunError: The new file cannot be written.
    """
    sources: list[store.EmbeddingTable] = list(verify.in_parallel(verify.verify_table, shards))
    old = verify.check_table(path) if path.exists() else None
    if shard_set.is_due(path, old, shards):
        sources = shard_set.with_old(old, sources)
        shard_set.write_index(path, spec, sources, merge(sources, failures))
        return
    if old is not None:
        sources.insert(0, old)
    merged = merge(sources, failures)
    parts = copies(sources, merged.chosen, merged.failures)
    write_file(path, spec, parts, merged.totals(sources), merged.cost, verify=True)
