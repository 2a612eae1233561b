"""Which plan a run obeys: the one an earlier run left, or a new one. What that run finished is never lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from features.errors import CacheError, RunError, UserError
from features.manifest import Manifest
from features.planning.plan import Plan, default_batch_s, make_plan, stated_digest
from features.planning.progress import Progress
from features.planning.settings import Settings
from features.planning.worklist import Work, survey
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import table as store
from features.store.finalize import seal

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
    if left is not None and _is_for(left, manifest, work):
        located = left.located(manifest, work.contents)
        if located != left:
            with _writing(parts):
                located.save(parts / PLAN_FILE)
        return located, work
    if parts.exists():
        finished = [shard for shard in sorted(parts.glob("shard-*.h5")) if is_whole(shard, work, progress)]
        if finished:
            progress.note(f"keeping {len(finished)} finished block(s) of an earlier, different run")
            seal(work.path, work.spec, finished, ())
        if parts.exists():  # a set takes the folder as it is
            shutil.rmtree(parts)
        work = survey(manifest, backbone, settings, cache)
    plan = make_plan(
        manifest,
        work.todo,
        work.contents,
        backbone,
        fp.fingerprint(work.spec),
        block_rows=settings.block_rows,
        batch_s=settings.batch_s or default_batch_s(backbone, settings.device),
        threads=settings.threads or torch.get_num_threads(),
        keep_frames="frames" in settings.pooling,
        precision=settings.precision,
        compile_network=_should_compile(settings, work),
    )
    return _publish(plan, manifest, work, parts), work


def _should_compile(settings: Settings, work: Work) -> bool:
    """What `compile` comes to with what is left to do."""
    if settings.compile == "auto":
        return is_repaid(settings.device, [content.duration_s for content in work.contents.take(work.todo)])
    return settings.compile


def joined_plan(manifest: Manifest, work: Work, parts: Path, *, alone: bool) -> Plan | None:
    """The plan that the shares of a run obey, with the audio found where it lies here; None where there is none.

    Args:
        manifest: The clips.
        work: What the cache file lacks of them.
        parts: The plan's folder.
        alone: Nobody else is at work; a plan for other clips of which nothing is finished does not count then.

    Raises:
        UserError: The plan there is for other clips.
    """
    left = Plan.load(parts / PLAN_FILE)
    if left is None or not len(work.todo):
        return None
    if _is_for(left, manifest, work):
        return left.located(manifest, work.contents)
    if alone and not any(parts.glob("shard-*.h5")):
        return None
    raise UserError(
        f"{parts / PLAN_FILE}: plans {len(left.wanted())} clips, this run wants {len(work.todo)} and not the same; "
        "give all shards the same config and files, or run without --shard to finish what is there"
    )


def is_current(plan: Plan, stated: bytes, manifest: Manifest, work: Work, parts: Path) -> bool:
    """Whether a plan is still the one to obey; another run may have sealed it.

    Args:
        plan: Made or found for this work.
        stated: What `stated_digest` gave when it was.
        manifest: The clips.
        work: What the cache file lacked of them.
        parts: The plan's folder.
    """
    if stated and stated_digest(parts / PLAN_FILE) == stated:
        return True
    left = Plan.load(parts / PLAN_FILE)
    return left is not None and _is_for(left, manifest, work) and left.located(manifest, work.contents) == plan


def _is_for(plan: Plan, manifest: Manifest, work: Work) -> bool:
    """Whether a plan covers just the clips that are to do, as they are now."""
    return plan.fingerprint == fp.fingerprint(work.spec) and plan.is_for(manifest, work.todo, work.contents)


def _publish(plan: Plan, manifest: Manifest, work: Work, parts: Path) -> Plan:
    """Put a new plan in place, and say which one counts: where locks do not reach, another run may have been first."""
    with _writing(parts):
        try:
            plan.save(parts / PLAN_FILE, overwrite=False)
        except FileExistsError:
            theirs = Plan.load(parts / PLAN_FILE)
            if theirs is None or not _is_for(theirs, manifest, work):
                raise RunError(f"another run has just begun on {parts}; run again when it has ended") from None
            return theirs.located(manifest, work.contents)
    return plan


@contextmanager
def _writing(parts: Path) -> Iterator[None]:
    try:
        yield
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


# What `auto` compiles for: so many seconds of audio still to do, most of them in clips of at least this length. On two
# CPU cores compiling took 46 s and gave up to 9 % with clips of 5 s, nothing with clips of half a second; on CUDA
# devices it has not been measured yet. See docs/performance.md.
REPAID_AFTER_AUDIO_S = {"cpu": 36_000.0}


LONG_CLIP_S = 2.0


def is_repaid(device: str, durations_s: Sequence[float]) -> bool:
    """What `compile: auto` stands for with clips of these lengths to do; no without a compiler to do it with."""
    in_long_clips = sum(seconds for seconds in durations_s if seconds >= LONG_CLIP_S)
    enough = in_long_clips >= REPAID_AFTER_AUDIO_S.get(torch.device(device).type, float("inf"))
    return enough and 2 * in_long_clips > sum(durations_s) and shutil.which(os.environ.get("CXX", "g++")) is not None
