"""Stage 1: every clip once through a frozen backbone into the cache. What is there is not computed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path

from features import fingerprint as fp
from features import store
from features.backbones.base import Backbone
from features.compute import Progress
from features.errors import CacheError, RunError, UserError
from features.locks import CacheLock
from features.manifest import Manifest
from features.plan import Plan
from features.resume import PLAN_FILE, is_whole, plan_for, remove_temporaries
from features.seal import seal
from features.spec import BackboneSpec
from features.survey import Settings, Work, known_failures, survey
from features.timings import Timings
from features.worker import Computed, Engine, Job, work_here


@dataclass
class Summary:
    """What one extraction did.

    Attributes:
        path: The cache file.
        computed: Clips embedded now.
        reused: Clips of the manifest that were there already, or came from another run.
        failures: id -> reason, of the manifest's clips; neither computed nor reused.
        seconds: Wall time of the computing, without loading the model.
        audio_s: Seconds of audio computed.
        timings: How busy each part was.
    """

    path: Path
    computed: int = 0
    reused: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    audio_s: float = 0.0
    timings: Timings = field(default_factory=Timings)


def extract(
    manifest: Manifest,
    backbone: BackboneSpec,
    load: Callable[[], Backbone],
    settings: Settings,
    cache: Path,
    progress: Progress,
    *,
    engine: Engine = work_here,
) -> Summary:
    """Bring the cache up to date with the manifest.

    Args:
        manifest: The clips.
        backbone: The spec of what embeds them.
        load: Loads the backbone; called only when there is something to compute.
        settings: How to run.
        cache: The cache folder.
        progress: Told how far it is.
        engine: Computes blocks.

    Returns:
        What was done.

    Raises:
        CacheError: The cache file is damaged; nothing was deleted.
        RunError: Disk full, no permission, or more than half of the clips fail.
    """
    path = fp.cache_path(cache, manifest.name, settings.cache_spec(backbone))
    with CacheLock(path, progress.note) as lock:
        work = survey(manifest, backbone, settings, cache)
        parts = path.with_suffix(".parts")
        summary = Summary(path)
        considered = len(manifest) if settings.limit is None else min(settings.limit, len(manifest))
        unreadable = {str(manifest.clips["id"].iat[row]): work.contents[row].failure for row in range(considered)}
        check_mostly_good({clip: why for clip, why in unreadable.items() if why}, considered, manifest)
        if work.todo or parts.exists():
            plan, work = plan_for(manifest, backbone, settings, cache, work, parts, progress)
            run = _Run(Job(plan, parts, work.spec, settings, load), work, engine, progress)
            remove_temporaries(path, parts)
            lock.shared()
            try:
                run.compute()
            except UserError:  # weights that do not fit: a plan nobody has begun is of no use
                if lock.alone() and not any(parts.glob("shard-*.h5")):
                    shutil.rmtree(parts)
                raise
            lock.exclusive()
            # The lock is let go for a moment on its way up: another run may have sealed these blocks then.
            if Plan.load(parts / PLAN_FILE) == plan:
                run.seal()
            summary.computed = sum(run.computed.clips.values())
            summary.audio_s = run.job.audio_s(list(run.computed.clips))
            summary.seconds = run.computed.seconds
            summary.timings = run.computed.timings
        table = store.open_table(path) if path.exists() else None
        summary.failures = _failures(table, manifest, work)
        summary.reused = _usable(table, manifest, work, summary.failures) - summary.computed
    first = set(manifest.clips["id"][:considered])
    check_mostly_good({clip: why for clip, why in summary.failures.items() if clip in first}, considered, manifest)
    return summary


def _usable(table: store.EmbeddingTable | None, manifest: Manifest, work: Work, failures: Container[str]) -> int:
    """How many of the manifest's clips the file holds as they are now."""
    if table is None:
        return 0
    known = dict(zip(table.ids, table.keys, strict=True))
    present = zip(manifest.clips["id"], work.contents, strict=True)
    return sum(clip not in failures and known.get(clip) == content.key for clip, content in present)


def _failures(table: store.EmbeddingTable | None, manifest: Manifest, work: Work) -> dict[str, str]:
    """The manifest's clips that cannot be used, those just tried included: id -> reason."""
    if table is None:
        return {}
    tried = manifest.clips["id"].iloc[work.todo]
    now = {str(clip): table.failures[clip][1] for clip in tried if clip in table.failures}
    return known_failures(table, manifest, work.contents) | now


def check_mostly_good(failures: dict[str, str], considered: int, manifest: Manifest) -> None:
    """Raise `RunError` when more than half of the clips fail: then something else is wrong."""
    if len(failures) * 2 > considered:
        clip, reason = next(iter(failures.items()))
        raise RunError(
            f"{manifest.name}: {len(failures)} of {considered} clips cannot be used, first {clip!r}: {reason}; "
            "is dataset.root right?"
        )


class _Run:
    """One process in charge of a plan."""

    def __init__(self, job: Job, work: Work, engine: Engine, progress: Progress) -> None:
        self.job = job
        self.work = work
        self.engine = engine
        self.progress = progress
        self.computed = Computed()
        self.shards = [job.shard(number) for number in range(len(job.plan.blocks))]

    def compute(self) -> None:
        """Compute every block that has no whole shard yet."""
        done = [
            n for n, shard in enumerate(self.shards) if shard.exists() and is_whole(shard, self.work, self.progress)
        ]
        self._compute_blocks([n for n in range(len(self.shards)) if n not in done], resumed=done)

    def seal(self) -> None:
        """Merge the shards into the cache file; one damaged since it was written is computed again."""
        while True:
            try:
                seal(self.work.path, self.work.spec, self.shards, self.job.plan.failures)
                break
            except CacheError as error:
                damaged = [n for n, shard in enumerate(self.shards) if error.path == shard]
                if not damaged:
                    raise
                self.progress.note(f"{self.shards[damaged[0]].name} is damaged: its block is computed again")
                self._compute_blocks(damaged, resumed=[])
        shutil.rmtree(self.job.parts)

    def _compute_blocks(self, numbers: list[int], resumed: list[int]) -> None:
        """Have some blocks computed."""
        job = self.job
        reused = len(self.work.reused) + len(job.positions(resumed))
        self.progress.start(len(job.positions(numbers)), job.audio_s(numbers), reused)
        if numbers:
            self.computed.add(self.engine(job, numbers, self.progress))
