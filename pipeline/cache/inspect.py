"""`audioheads cache ls | verify | explain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from features.errors import CacheError
from features.planning.precision import settle
from features.planning.worklist import survey
from features.store import fingerprint as fp
from features.store.layout import SET_SUFFIX
from features.store.table import EmbeddingTable, open_table, verify_table
from pipeline.config.config import Config, label_of
from pipeline.console import Console
from pipeline.stages.features import describe_all, load_corpus, stage1_settings

IDS_SHOWN = 5


def list_caches(folder: Path, console: Console) -> None:
    """Print a line per cache file under `folder`; a damaged one says so."""
    rows: list[tuple[object, ...]] = []
    for path in cache_files([folder]):
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
    if not rows:
        console.line(f"{folder}: no cache files")
        return
    console.table(
        ("dataset", "file", "clips", "failed", "size", "holds"),
        rows,
        right=("clips", "failed", "size"),
        foldable=["holds"],
    )


def verify(paths: Sequence[Path], console: Console) -> bool:
    """Check every byte of cache files; True when all are whole."""
    files = cache_files(paths)
    whole = 0
    for path in files:
        try:
            table = verify_table(path)
        except CacheError as error:
            console.error(str(error))
            continue
        whole += 1
        console.line(f"{path}: whole, {len(table)} clips")
    console.line(f"cache verify: {whole} of {len(files)} files are whole")
    return whole == len(files)


def explain(config: Config, console: Console) -> None:
    """Say for each backbone which file serves it, what is reused, and why anything is computed."""
    corpus = load_corpus(config, save=False)
    settings = stage1_settings(config)
    for options, spec in zip(config.features.backbones, describe_all(config.features.backbones), strict=True):
        own = settle(corpus, spec, None, settings, config.output.cache, console.note)
        work = survey(corpus, spec, own, config.output.cache)
        console.line(f"{label_of(options)}: {work.path}")
        if work.table is None:
            for line in _why_new(work.path, work.spec):
                console.line(f"  {line}")
        counts = f"{len(work.reused)} reused, {len(work.new)} new, {len(work.changed)} changed"
        console.line(f"  {counts}{f', {len(work.failed)} failed before' if len(work.failed) else ''}")
        for state, rows in (("new", work.new), ("changed", work.changed)):
            for row in rows[:IDS_SHOWN]:
                console.line(f"    {state}: {corpus.manifest.clips['id'].iat[row]}")
            if len(rows) > IDS_SHOWN:
                console.line(f"    {state}: … and {len(rows) - IDS_SHOWN} more")


def cache_files(paths: Iterable[Path]) -> list[Path]:
    """The cache files named or lying under folders; shards, of unfinished runs and of sets, are left out."""
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


def _why_new(path: Path, spec: dict) -> list[str]:
    """What distinguishes a spec that has no file yet from the files there are of the same backbone."""
    wanted = fp.flatten(spec)
    lines = []
    for other in sorted(path.parent.glob(f"{spec['backbone']['name']}-*.h5")):
        try:
            table: EmbeddingTable = open_table(other)
        except CacheError as error:
            lines.append(str(error))
            continue
        held = fp.flatten(table.cache_spec)
        for key in sorted(wanted.keys() | held.keys()):
            if wanted.get(key) != held.get(key):
                lines.append(f"not {other.name}: {key} is {wanted.get(key)!r}, there {held.get(key)!r}")
    return lines or ["no file of this backbone yet"]
