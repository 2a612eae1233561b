"""`audioheads cache prune`: remove cached clips or files, selected by configs, age or name."""

from __future__ import annotations

import datetime
import fnmatch
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from features.errors import CacheError, ConfigError, UserError
from features.store.prune import prune_rows, remove_cache, size_of, whole_caches
from features.store.table import open_table
from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.results.table import counted

_UNITS_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def prune_clips(configs: Sequence[Config], *, dry_run: bool, console: Console) -> None:
    """Remove cached clips that no manifest of the configs contains, from the caches of the configs' data sets.

    Args:
        configs: All experiments whose clips to keep; manifests of the same data set are combined.
        dry_run: Print what would be removed without removing it.
        console: Prints what was removed.

    Raises:
        ManifestError: A corpus is missing or its table is invalid; nothing was removed.
        CacheError: A cache file is damaged; it is left unchanged.
    """
    from features.corpus import Corpus
    from features.datasets import load_manifest
    from pipeline.recordings.background import embedded_clips, with_background

    wanted: dict[Path, set[str]] = {}
    for config in configs:
        manifest = load_manifest(config.dataset.model_dump())
        folder = config.output.cache / manifest.name
        kept = embedded_clips(with_background(config, Corpus(manifest, folder, save=False)))
        wanted.setdefault(folder, set()).update(kept.manifest.clips["id"])
    would = "would remove" if dry_run else "removed"
    total = 0
    for folder, clips in wanted.items():
        files = [path for path in whole_caches([folder]) if path.exists()] if folder.is_dir() else []
        if not files:
            console.line(f"cache prune: no cache files in {folder}")
        for path in files:
            done = prune_rows(path, clips, console.note, dry_run=dry_run)
            total += done.size_bytes
            failures = f" and {counted(done.failures, 'failure')}" if done.failures else ""
            console.line(
                f"{path}: {would} {counted(done.clips, 'clip')}{failures}, {size_text(done.size_bytes)}; "
                f"{done.left} stay"
            )
    console.line(f"cache prune: {'would free' if dry_run else 'freed'} {size_text(total)}")


def prune_files(
    paths: Sequence[Path], *, older_than: str | None, name: str | None, dry_run: bool, console: Console
) -> None:
    """Remove whole cache files.

    Args:
        paths: Cache files, or folders to search for them.
        older_than: Minimum time since the last change: `30d`, `12h`, `2w`; None: any.
        name: Pattern for the name, with or without `.h5`; `*` and `?` match any characters. None: any.
        dry_run: Print what would be removed without removing it.
        console: Prints what was removed.

    Raises:
        ConfigError: Neither an age nor a name is given.
        UserError: The age cannot be parsed.
    """
    if older_than is None and name is None:
        raise ConfigError("cache prune: select files with --older-than AGE (such as 30d) or --name PATTERN")
    least_age = None if older_than is None else parse_age(older_than)
    total = 0
    chosen = list(_chosen(whole_caches(paths), least_age, name))
    for path, age in chosen:
        size = size_of(path) if dry_run else remove_cache(path, console.note)
        total += size
        days = f"{age.total_seconds() / 86_400:.1f} days old"
        console.line(f"{path}: {'would be removed' if dry_run else 'removed'}, {size_text(size)}, {days}")
    console.line(
        f"cache prune: {'would remove' if dry_run else 'removed'} {counted(len(chosen), 'cache file')}, "
        f"{size_text(total)}"
    )


def parse_age(text: str) -> datetime.timedelta:
    """Parse an age such as `30d`, `12h` or `2w`.

    Raises:
        UserError: The text is not an age.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hdw])", text.strip())
    if not found:
        raise UserError(f"--older-than {text!r}: not an age; use hours, days or weeks such as 12h, 30d or 2w")
    return datetime.timedelta(seconds=float(found[1]) * _UNITS_S[found[2]])


def size_text(size_bytes: int) -> str:
    """Format a number of bytes, such as `12.3 MB`."""
    for unit, least in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= least:
            return f"{size_bytes / least:.1f} {unit}"
    return f"{size_bytes / 1e3:.1f} kB"


def _chosen(
    paths: Sequence[Path], least_age: datetime.timedelta | None, name: str | None
) -> Iterator[tuple[Path, datetime.timedelta]]:
    """Yield the matching cache files and their ages."""
    for path in paths:
        age = datetime.datetime.now(datetime.UTC) - _last_change(path)
        named = name is None or any(fnmatch.fnmatchcase(text, name) for text in (path.name, path.stem))
        if named and (least_age is None or age >= least_age):
            yield path, age


def _last_change(path: Path) -> datetime.datetime:
    """Return when a cache file was finalized, or the newest modification time if it is unreadable or unfinished."""
    try:
        return datetime.datetime.fromisoformat(open_table(path).created_utc)
    except CacheError:
        files = [path, *path.parent.glob(f"{path.stem}.*/**/*"), *path.parent.glob(f"{path.stem}.*")]
        latest = max((file.stat().st_mtime for file in files if file.exists() and file.suffix != ".lock"), default=0.0)
        return datetime.datetime.fromtimestamp(latest, datetime.UTC)
