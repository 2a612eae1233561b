"""Stage 1: embed every clip once with a frozen backbone and store it in the cache. Cached clips are skipped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from features.backbones.base import Backbone
from features.corpus import Corpus
from features.errors import CacheError, RunError, UserError
from features.inference.timing import Timings
from features.inference.worker import Computed, Engine, ExtractionTask, work_here
from features.manifest import Manifest
from features.planning.adoption import adopt
from features.planning.plan import Plan, stated_digest
from features.planning.progress import Progress
from features.planning.resume import PLAN_FILE, is_current, is_whole, joined_plan, plan_for
from features.planning.run_shard import RunShard
from features.planning.settings import Settings
from features.planning.worklist import Worklist, make_worklist
from features.records import release_memory
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import shard_set
from features.store import table as store
from features.store.finalize import finalize
from features.store.writer import remove_temporaries
from features.system.locks import CacheLock
from features.system.retry import Retry, unavailable_cache

RETRY_S = 0.2  # interval at which a run shard checks whether another one has planned or finalized


@dataclass
class Summary:
    """The result of one extraction.

    Attributes:
        path: The cache file.
        computed: Clips embedded by this run.
        reused: Clips of the manifest that were in the cache, under any name of the dataset, or came from another run.
        failures: id -> reason of the manifest's clips that were neither computed nor reused.
        seconds: Wall time of computing, without loading the model.
        audio_s: Seconds of audio computed.
        timings: Busy time of each part.
        rounding_error: Largest relative error of a clip's vector that is stored as float16; None for float32.
        waiting: Other shards of this run with missing blocks; the cache is finalized when they are done.
    """

    path: Path
    computed: int = 0
    reused: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    audio_s: float = 0.0
    timings: Timings = field(default_factory=Timings)
    rounding_error: float | None = None
    waiting: tuple[RunShard, ...] = ()


def extract(
    clips: Manifest | Corpus,
    backbone: BackboneSpec,
    load: Callable[[], Backbone],
    settings: Settings,
    cache: Path,
    progress: Progress,
    *,
    engine: Engine = work_here,
    run_shard: RunShard | None = None,
) -> Summary:
    """Compute the embeddings that the cache lacks.

    Args:
        clips: The clips. A manifest's files are read here; a corpus may have read its files already.
        backbone: The backbone's spec.
        load: Loads the backbone; called only if there is something to compute.
        settings: How to run.
        cache: The cache folder.
        progress: Receives progress reports.
        engine: Computes blocks.
        run_shard: Compute only the blocks of this run shard; the last process to finish finalizes the cache.

    Returns:
        What was computed, reused and failed.

    Raises:
        CacheError: The cache file is damaged; nothing was deleted.
        UserError: Another run shard is computing different clips.
        RunError: The disk is full, a folder is not writable, or more than half of the clips fail.
    """
    corpus = clips if isinstance(clips, Corpus) else Corpus(clips, cache / clips.name)
    path = fp.cache_path(cache, corpus.manifest.name, settings.cache_spec(backbone), backbone.title)
    summary = Summary(path)
    with CacheLock(path, progress.note, begin="exclusive" if run_shard is None else "join") as lock:
        work, plan = _work_and_plan(corpus, backbone, settings, cache, lock, run_shard)
        _note_lost_shards(work.table, progress)
        check_mostly_good(corpus.unreadable, corpus.manifest, settings.limit)
        if lock.is_alone and len(work.todo) and not work.parts.exists() and adopt(work, progress.note):
            work = make_worklist(corpus, backbone, settings, cache)
        if lock.is_alone and (len(work.todo) or work.parts.exists()):
            if plan is None:
                plan, work = plan_for(work, backbone, settings, cache, progress)
            remove_temporaries(path, work.parts)
        if plan is not None:
            run = _Run(ExtractionTask(plan, work.parts, work.spec, settings, load), work, engine, progress)
            run.carry_out(lock, run_shard, summary)
        if path.exists():
            _count(summary, store.open_table(path), work)
    check_mostly_good(summary.failures, corpus.manifest, settings.limit)
    return summary


def _work_and_plan(
    corpus: Corpus, backbone: BackboneSpec, settings: Settings, cache: Path, lock: CacheLock, run_shard: RunShard | None
) -> tuple[Worklist, Plan | None]:
    """Return the worklist, and the plan that a run shard joins; waits until one of the shards has planned."""
    path = fp.cache_path(cache, corpus.manifest.name, settings.cache_spec(backbone), backbone.title)
    while True:
        if lock.is_alone:
            shard_set.recover(path, path.with_suffix(".parts"))
        work = make_worklist(corpus, backbone, settings, cache)
        plan = None if run_shard is None else joined_plan(work, alone=lock.is_alone)
        if plan is not None or lock.is_alone or not len(work.todo):
            return work, plan
        time.sleep(RETRY_S)
        lock.join()


def _note_lost_shards(table: store.EmbeddingTable | None, progress: Progress) -> None:
    """Report each missing or changed shard file of a set; its clips are computed again."""
    if table is None:
        return
    for number, rows in table.locations.rows_by_shard_file():
        shard_file = table.locations.shard_files[number]
        if why := shard_file.absence():
            progress.note(f"{shard_file.path} {why}: its {len(rows)} clip(s) are computed again if they are requested")


def _count(summary: Summary, table: store.EmbeddingTable, work: Worklist) -> None:
    """Set the failures (including new ones) and reused clips in the summary."""
    ids = work.corpus.manifest.clips["id"]
    tried = ids.iloc[work.todo]
    now = {str(clip): table.failures[clip][1] for clip in tried if clip in table.failures}
    summary.failures = work.corpus.failures_in(table) | now
    usable = work.corpus.is_in(table) & ~ids.isin(summary.failures.keys()).to_numpy()
    summary.rounding_error = table.cost.get("rounding_error")
    summary.reused = int(usable.sum()) - (0 if summary.waiting else summary.computed)


def check_mostly_good(failures: Mapping[str, str], manifest: Manifest, limit: int | None) -> None:
    """Raise `RunError` if more than half of the first `limit` clips fail, which suggests a wrong configuration."""
    considered = manifest.clips["id"].iloc[:limit]
    failed = considered[considered.isin(failures.keys())]
    if 2 * len(failed) > len(considered):
        first = failed.iloc[0]
        hint = "" if "; set " in failures[first] else "; is dataset.root right?"  # the reason says what to do
        raise RunError(
            f"{manifest.name}: {len(failed)} of {len(considered)} clips cannot be used, first {first!r}: "
            f"{failures[first]}{hint}"
        )


class _Run:
    """One process that executes a plan or a shard of it."""

    def __init__(self, job: ExtractionTask, work: Worklist, engine: Engine, progress: Progress) -> None:
        self.job = job
        self.work = work
        self.engine = engine
        self.progress = progress
        self.computed = Computed()
        self.shards = [job.shard(number) for number in range(len(job.plan.blocks))]

    def carry_out(self, lock: CacheLock, run_shard: RunShard | None, summary: Summary) -> None:
        """Compute missing blocks, concurrently with other processes, then finalize exclusively; update `summary`."""
        job = self.job
        stated = stated_digest(job.parts / PLAN_FILE)
        release_memory()  # memory of planning, before the model is loaded
        lock.shared()
        try:
            self.compute(run_shard)
        except UserError:  # for instance unsuitable weights: remove a plan without finished blocks
            if lock.alone() and not any(job.parts.glob("shard-*.h5")):
                shutil.rmtree(job.parts)
            raise
        release_memory()  # memory of the model
        if run_shard is not None and is_current(job.plan, stated, self.work):
            summary.waiting = run_shard.owners(self.missing())
        if not summary.waiting:
            lock.exclusive()
            # Upgrading the lock releases it for a moment, in which another run may have finalized these blocks.
            if is_current(job.plan, stated, self.work):
                self.finalize()
        summary.computed = sum(self.computed.clips.values())
        summary.audio_s = job.audio_s(list(self.computed.clips)) - sum(self.computed.failed_s.values())
        summary.seconds = self.computed.seconds
        summary.timings = self.computed.timings

    def compute(self, run_shard: RunShard | None) -> None:
        """Compute every block (of the run shard, if given) without a valid shard file."""
        wanted = [n for n in range(len(self.shards)) if run_shard is None or run_shard.takes(n)]
        there = set(wanted).difference(self.missing())
        done = {n for n in wanted if n in there and is_whole(self.shards[n], self.work, self.progress)}
        self._compute_blocks([n for n in wanted if n not in done], resumed=sorted(done))

    def missing(self) -> list[int]:
        """Return the blocks without a shard file."""
        there = {path.name for path in self.job.parts.iterdir()}
        return [n for n, shard in enumerate(self.shards) if shard.name not in there]

    def finalize(self) -> None:
        """Merge the shards into the cache file; each damaged shard is computed again, once.

        Raises:
            RunError: A shard is damaged again. Its storage is bad, or it was written as no cache file may be.
        """
        again: set[int] = set()
        while True:
            try:
                Retry(self.progress.note)(
                    lambda: finalize(self.work.path, self.work.spec, self.shards, self.job.plan.failures),
                    lambda: unavailable_cache(self.job.parts),
                )
                break
            except CacheError as error:
                damaged = [n for n, shard in enumerate(self.shards) if error.path == shard]
                if not damaged:
                    raise
                if not again.isdisjoint(damaged):
                    raise RunError(
                        f"{self.shards[damaged[0]]} is damaged again after its block was computed again "
                        f"({error.reason}); check the disk, then run again; finished blocks are kept"
                    ) from error
                again.update(damaged)
                self.progress.note(f"{self.shards[damaged[0]].name} is damaged: its block is computed again")
                self._compute_blocks(damaged, resumed=[])
        if self.job.parts.exists():  # finalizing a set moves this folder
            shutil.rmtree(self.job.parts)

    def _compute_blocks(self, numbers: list[int], resumed: list[int]) -> None:
        """Compute some blocks with the engine."""
        job = self.job
        reused = len(self.work.reused) + job.n_clips(resumed)
        self.progress.start(job.n_clips(numbers), job.audio_s(numbers), reused)
        if numbers:
            self.computed.add(self.engine(job, numbers, self.progress))
