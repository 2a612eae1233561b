"""`audioheads cache ls | verify`: list cache files and check them against their digests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from features.errors import CacheError
from features.store.layout import SET_SUFFIX
from pipeline.console import Console


def list_caches(folder: Path, console: Console) -> None:
    """Print a line per cache file under `folder`, and mark the damaged ones."""
    files = cache_files([folder])
    if not files:
        console.line(f"{folder}: no cache files")
        return
    from features.store.table import open_table

    rows: list[tuple[object, ...]] = []
    for path in files:
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        try:
            table = open_table(path)
            size = f"{table.size_bytes / 1e6:.1f} MB"
        except CacheError as error:
            rows.append((path.parent.name, path.name, "–", "–", size, f"unusable: {error}"))
            continue
        kept = ", ".join([*table.poolings, *(["frames"] if table.cache_spec["frames"] else [])])
        weights = "untrained" if table.spec.untrained else table.spec.weights
        rows.append((path.parent.name, path.name, len(table), len(table.failures), size, f"{kept}; {weights}"))
    console.table(
        ("dataset", "file", "clips", "failed", "size", "holds"),
        rows,
        right=("clips", "failed", "size"),
        foldable=["holds"],
    )


def verify(paths: Sequence[Path], console: Console) -> bool:
    """Check every byte of cache files and return whether all are intact."""
    from features.store.verify import check_all_values, verify_table

    files = cache_files(paths)
    whole = 0
    for path in files:
        try:
            table = verify_table(path)
            check_all_values(table)
        except CacheError as error:
            console.error(str(error))
            continue
        whole += 1
        console.line(f"{path}: whole, {len(table)} clips")
    console.line(f"cache verify: {whole} of {len(files)} files are whole")
    return whole == len(files)


def cache_files(paths: Iterable[Path]) -> list[Path]:
    """Return the given cache files and those under folders, without the shards of unfinished runs and of sets."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = {".parts", SET_SUFFIX}
            found += [
                file
                for file in sorted(path.rglob("*.h5"))
                if not file.name.startswith(".") and not inside & {folder.suffix for folder in file.parents}
            ]
        else:
            found.append(path)
    return found
