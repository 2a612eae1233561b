"""`audioheads cache explain`: show what a run would reuse and compute, and why."""

from __future__ import annotations

from pathlib import Path

from features.errors import CacheError
from features.planning.adoption import held_elsewhere
from features.planning.precision import settle
from features.planning.worklist import make_worklist
from features.store import fingerprint as fp
from features.store.table import EmbeddingTable, open_table
from pipeline.config.config import Config, label_of
from pipeline.console import Console
from pipeline.recordings.background import embedded_clips
from pipeline.stages.features import describe_all, load_corpus, stage1_settings

IDS_SHOWN = 5


def explain(config: Config, console: Console) -> None:
    """Print for each backbone its cache file, what is reused, and why anything is computed."""
    corpus = embedded_clips(load_corpus(config, save=False))
    settings = stage1_settings(config)
    for options, spec in zip(config.features.backbones, describe_all(config.features.backbones), strict=True):
        own = settle(corpus, spec, None, settings, config.output.cache, console.note)
        work = make_worklist(corpus, spec, own, config.output.cache)
        console.line(f"{label_of(options)}: {work.path}")
        if work.table is None:
            for line in _why_new(work.path, work.spec):
                console.line(f"  {line}")
        counts = f"{len(work.reused)} reused, {len(work.new)} new, {len(work.changed)} changed"
        console.line(f"  {counts}{f', {len(work.failed)} failed earlier' if len(work.failed) else ''}")
        for held in held_elsewhere(work):
            what = "other ids" if held.path == work.path else f"the dataset {held.dataset!r}"
            console.line(f"  {len(held.ids)} of the new or changed have the audio of rows of {what}, which are reused")
        for state, rows in (("new", work.new), ("changed", work.changed)):
            for row in rows[:IDS_SHOWN]:
                console.line(f"    {state}: {corpus.manifest.clips['id'].iat[row]}")
            if len(rows) > IDS_SHOWN:
                console.line(f"    {state}: … and {len(rows) - IDS_SHOWN} more")


def _why_new(path: Path, spec: dict) -> list[str]:
    """Return how a spec without a cache file differs from the existing files of the same backbone."""
    wanted = fp.flatten(spec)
    lines = []
    for other in sorted(path.parent.glob("*.h5")):
        try:
            table: EmbeddingTable = open_table(other)
        except CacheError as error:
            lines.append(str(error))
            continue
        if table.spec.name != spec["backbone"]["name"]:  # file names begin with labels
            continue
        held = fp.flatten(table.cache_spec)
        for key in sorted(wanted.keys() | held.keys()):
            if wanted.get(key) != held.get(key):
                lines.append(f"not {other.name}: {key} is {wanted.get(key)!r}, there {held.get(key)!r}")
    return lines or ["no file of this backbone yet"]
