"""Stage 1: every clip once through a frozen backbone into the cache. What is there is not computed again."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from features import fingerprint as fp
from features import store
from features.backbones.base import Backbone
from features.batches import decode_ahead
from features.compute import Progress, compute_block
from features.errors import CacheError, RunError, UserError
from features.locks import CacheLock
from features.manifest import Manifest
from features.plan import Plan
from features.resume import PLAN_FILE, is_whole, plan_for, remove_temporaries
from features.seal import Totals, seal, write_file
from features.spec import BackboneSpec
from features.survey import Settings, Work, known_failures, survey


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
    """

    path: Path
    computed: int = 0
    reused: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    audio_s: float = 0.0


def extract(
    manifest: Manifest,
    backbone: BackboneSpec,
    load: Callable[[], Backbone],
    settings: Settings,
    cache: Path,
    progress: Progress,
) -> Summary:
    """Bring the cache up to date with the manifest.

    Args:
        manifest: The clips.
        backbone: The spec of what embeds them.
        load: Loads the backbone; called only when there is something to compute.
        settings: How to run.
        cache: The cache folder.
        progress: Told how far it is.

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
            run = _Run(plan, parts, work, load, settings, progress, summary)
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
            summary.computed = len(run.embedded)
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
    """One process at work on a plan."""

    def __init__(
        self,
        plan: Plan,
        parts: Path,
        work: Work,
        load: Callable[[], Backbone],
        settings: Settings,
        progress: Progress,
        summary: Summary,
    ) -> None:
        self.plan = plan
        self.parts = parts
        self.work = work
        self.load = load
        self.settings = settings
        self.progress = progress
        self.summary = summary
        self.embedded: set[str] = set()
        self.shards = [parts / f"shard-{number:06d}.h5" for number in range(len(plan.blocks))]

    def compute(self) -> None:
        """Compute every block that has no whole shard yet."""
        done = {
            n for n, shard in enumerate(self.shards) if shard.exists() and is_whole(shard, self.work, self.progress)
        }
        self._compute_blocks([n for n in range(len(self.shards)) if n not in done], resumed=done)

    def seal(self) -> None:
        """Merge the shards into the cache file; one damaged since it was written is computed again."""
        while True:
            try:
                seal(self.work.path, self.work.spec, self.shards, self.plan.failures)
                break
            except CacheError as error:
                damaged = [n for n, shard in enumerate(self.shards) if error.path == shard]
                if not damaged:
                    raise
                self.progress.note(f"{self.shards[damaged[0]].name} is damaged: its block is computed again")
                self._compute_blocks(damaged, resumed=set())
        shutil.rmtree(self.parts)

    def _compute_blocks(self, numbers: list[int], resumed: set[int]) -> None:
        """Compute some blocks, decoding ahead of the model."""
        plan, blocks = self.plan, self.plan.blocks
        there = sum(len(batch) for n in resumed for batch in blocks[n])
        clips = [plan.clips[row] for n in numbers for batch in blocks[n] for row in batch]
        self.progress.start(len(clips), sum(clip.native_s for clip in clips), len(self.work.reused) + there)
        if not numbers:
            return
        with _torch_as_planned(plan.threads), ThreadPoolExecutor(self.settings.workers, "decode") as pool:
            backbone = self.load()
            started = time.perf_counter()
            spec = backbone.spec
            batches = [batch for n in numbers for batch in blocks[n]]
            decoded = decode_ahead(plan.clips, batches, spec.sample_rate, spec.max_samples, pool)
            with contextlib.closing(decoded):
                for number in numbers:
                    rows, cost = compute_block(plan, blocks[number], decoded, backbone, self.settings, self.progress)
                    write_file(self.shards[number], self.work.spec, [rows], Totals.of(rows), cost)
                    self.embedded.update(rows.ids)
        self.summary.audio_s += sum(clip.native_s for clip in clips)
        self.summary.seconds += time.perf_counter() - started


@contextlib.contextmanager
def _torch_as_planned(threads: int) -> Iterator[None]:
    """Run torch with a number of threads and with fp32 that is fp32 on CUDA too, then as before."""
    before, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.backends.cudnn.allow_tf32 = tf32
