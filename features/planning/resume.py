"""Choose the plan of a run: that of an interrupted run, or a new one. Finished blocks are always kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from features.errors import CacheError, RunError, UserError
from features.planning.plan import Plan, default_batch_s, make_plan, stated_digest
from features.planning.progress import Progress
from features.planning.settings import Settings
from features.planning.worklist import Worklist, make_worklist
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import verify
from features.store.finalize import finalize

PLAN_FILE = "plan.json"


def plan_for(
    work: Worklist, backbone: BackboneSpec, settings: Settings, cache: Path, progress: Progress
) -> tuple[Plan, Worklist]:
    """Return the plan of an interrupted run if it covers the same clips, else a new one.

    Finished blocks of a different plan are merged into the cache first.

    Args:
        work: The clips to compute.
        backbone: The backbone's spec.
        settings: How to run.
        cache: The cache folder.
        progress: Receives notes.

    Returns:
        The plan and the worklist it is for.

    Raises:
        RunError: The plan cannot be written, or another run started at the same time.
    """
    parts = work.parts
    left = Plan.load(parts / PLAN_FILE)
    if left is not None and _is_for(left, work):
        located = _located(left, work)
        if located != left:
            with _writing(parts):
                located.save(parts / PLAN_FILE)
        return located, work
    if parts.exists():
        finished = [shard for shard in sorted(parts.glob("shard-*.h5")) if is_whole(shard, work, progress)]
        if finished:
            progress.note(f"keeping {len(finished)} finished block(s) of an earlier, different run")
            finalize(work.path, work.spec, finished, ())
        if parts.exists():  # finalizing a set moves this folder
            shutil.rmtree(parts)
        work = make_worklist(work.corpus, backbone, settings, cache)
    plan = make_plan(
        work.corpus.manifest,
        work.todo,
        work.corpus.contents,
        backbone,
        fp.fingerprint(work.spec),
        block_rows=settings.block_rows,
        batch_s=settings.batch_s or default_batch_s(backbone, settings.device),
        threads=settings.threads or torch.get_num_threads(),
        keep_frames="frames" in settings.pooling,
        precision=settings.precision,
        compile_network=_should_compile(settings, work),
    )
    return _publish(plan, work), work


def _should_compile(settings: Settings, work: Worklist) -> bool:
    """Resolve the setting `compile` for the clips to compute."""
    if settings.compile == "auto":
        return is_repaid(settings.device, [content.duration_s for content in work.corpus.contents.take(work.todo)])
    return settings.compile


def joined_plan(work: Worklist, *, alone: bool) -> Plan | None:
    """Return the common plan of a run's shards, with this machine's audio paths; None if there is no plan.

    Args:
        work: The clips to compute.
        alone: Whether no other process is running; a plan for other clips without finished blocks is then ignored.

    Raises:
        UserError: The existing plan is for other clips.
    """
    path = work.parts / PLAN_FILE
    left = Plan.load(path)
    if left is None or not len(work.todo):
        return None
    if _is_for(left, work):
        return _located(left, work)
    if alone and not any(work.parts.glob("shard-*.h5")):
        return None
    raise UserError(
        f"{path}: the plan covers {len(left.wanted())} clips, which differ from this run's {len(work.todo)}; "
        "give all shards the same config and files, or run without --shard to finish the existing plan"
    )


def is_current(plan: Plan, stated: bytes, work: Worklist) -> bool:
    """Whether a plan is still in effect; another run may have finalized it.

    Args:
        plan: The plan of this run.
        stated: The result of `stated_digest` when the plan was made or read.
        work: The clips that were to be computed.
    """
    if stated and stated_digest(work.parts / PLAN_FILE) == stated:
        return True
    left = Plan.load(work.parts / PLAN_FILE)
    return left is not None and _is_for(left, work) and _located(left, work) == plan


def _is_for(plan: Plan, work: Worklist) -> bool:
    """Whether a plan covers exactly the clips to compute with their present content."""
    same_spec = plan.fingerprint == fp.fingerprint(work.spec)
    return same_spec and plan.is_for(work.corpus.manifest, work.todo, work.corpus.contents)


def _located(plan: Plan, work: Worklist) -> Plan:
    """Return a plan with the paths of its clips on this machine."""
    return plan.located(work.corpus.manifest, work.corpus.contents)


def _publish(plan: Plan, work: Worklist) -> Plan:
    """Write a new plan and return the one in effect: without working locks, another run may have been first."""
    parts = work.parts
    with _writing(parts):
        try:
            plan.save(parts / PLAN_FILE, overwrite=False)
        except FileExistsError:
            theirs = Plan.load(parts / PLAN_FILE)
            if theirs is None or not _is_for(theirs, work):
                raise RunError(f"another run has just started on {parts}; run again when it has ended") from None
            return _located(theirs, work)
    return plan


@contextmanager
def _writing(parts: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {parts} ({error.strerror}); nothing has changed") from error


def is_whole(shard: Path, work: Worklist, progress: Progress) -> bool:
    """Whether a shard is undamaged and belongs to this cache file; damage is noted."""
    try:
        table = verify.verify_table(shard)
    except CacheError:
        progress.note(f"{shard.name} is damaged: its block is computed again")
        return False
    return table.fingerprint == fp.fingerprint(work.spec)


# `compile: auto` compiles if at least this much audio is to be computed in clips of at least LONG_CLIP_S, and these are
# most of the audio. On two CPU cores compiling took 46 s and saved up to 9 % with clips of 5 s, nothing with clips of
# half a second. It has not been measured on CUDA devices yet. See docs/performance.md.
REPAID_AFTER_AUDIO_S = {"cpu": 36_000.0}
LONG_CLIP_S = 2.0


def is_repaid(device: str, durations_s: Sequence[float]) -> bool:
    """Whether `compile: auto` compiles for clips of these lengths; False without a C++ compiler.

    Args:
        device: Torch device.
        durations_s: Lengths of the clips to compute, in seconds.
    """
    in_long_clips = sum(seconds for seconds in durations_s if seconds >= LONG_CLIP_S)
    enough = in_long_clips >= REPAID_AFTER_AUDIO_S.get(torch.device(device).type, float("inf"))
    return enough and 2 * in_long_clips > sum(durations_s) and shutil.which(os.environ.get("CXX", "g++")) is not None
