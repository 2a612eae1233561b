"""Which plan a run obeys: the one an earlier run left, or a new one. What that run finished is never lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from features import fingerprint as fp
from features import store
from features.compute import Progress
from features.errors import CacheError, RunError
from features.manifest import Manifest
from features.plan import BATCH_AUDIO_S, Plan, make_plan
from features.seal import seal
from features.spec import BackboneSpec
from features.survey import Settings, Work, survey

PLAN_FILE = "plan.json"


def plan_for(
    manifest: Manifest,
    backbone: BackboneSpec,
    settings: Settings,
    cache: Path,
    work: Work,
    parts: Path,
    progress: Progress,
) -> tuple[Plan, Work]:
    """The plan an earlier run left, where it is for the same clips; else a new one, with finished blocks kept."""
    left = Plan.load(parts / PLAN_FILE)
    ids = manifest.clips["id"]
    same_file = left is not None and left.fingerprint == fp.fingerprint(work.spec)
    if (
        left is not None
        and same_file
        and left.wanted() == {(ids.iat[row], work.contents[row].key) for row in work.todo}
    ):
        located = left.located(manifest, work.contents)
        if located != left:
            _save_plan(located, parts)
        return located, work
    if parts.exists():
        finished = [shard for shard in sorted(parts.glob("shard-*.h5")) if is_whole(shard, work, progress)]
        if finished:
            progress.note(f"keeping {len(finished)} finished block(s) of an earlier, different run")
            seal(work.path, work.spec, finished, ())
        shutil.rmtree(parts)
        work = survey(manifest, backbone, settings, cache)
    plan = make_plan(
        manifest,
        work.todo,
        work.contents,
        backbone,
        fp.fingerprint(work.spec),
        block_rows=settings.block_rows,
        batch_s=settings.batch_s or BATCH_AUDIO_S.get(torch.device(settings.device).type, BATCH_AUDIO_S["cpu"]),
        threads=settings.threads or torch.get_num_threads(),
        keep_frames="frames" in settings.pooling,
    )
    _save_plan(plan, parts)
    return plan, work


def _save_plan(plan: Plan, parts: Path) -> None:
    try:
        plan.save(parts / PLAN_FILE)
    except OSError as error:
        raise RunError(f"cannot write {parts} ({error.strerror}); nothing has changed") from error


def is_whole(shard: Path, work: Work, progress: Progress) -> bool:
    """Whether a shard is undamaged and of this cache file; if not, it is said and left out."""
    try:
        table = store.verify_table(shard)
    except CacheError:
        progress.note(f"{shard.name} is damaged: its block is computed again")
        return False
    return table.fingerprint == fp.fingerprint(work.spec)


def remove_temporaries(path: Path, parts: Path) -> None:
    """Remove what a killed run was writing; only to be called when no other run is at work."""
    for temporary in (*path.parent.glob(f".{path.name}.*.tmp"), *parts.glob(".*.tmp")):
        temporary.unlink(missing_ok=True)
