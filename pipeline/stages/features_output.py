"""What stage 1 prints: the progress of a backbone, its summary, and what a dry run would compute."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from features.backbones import record_of_weights
from features.corpus import Corpus
from features.extract import Summary
from features.planning.adoption import held_elsewhere
from features.planning.settings import Settings
from features.planning.worklist import make_worklist
from features.spec import BackboneSpec
from pipeline.console import Console
from pipeline.progress import ProgressTask


def summary_line(label: str, summary: Summary, dataset: str) -> str:
    """Summarise the extraction of one backbone in one line."""
    parts = [f"{summary.computed} computed", f"{summary.reused} reused", f"{len(summary.failures)} failed"]
    if summary.computed and summary.seconds:
        rate, realtime = summary.computed / summary.seconds, summary.audio_s / summary.seconds
        parts.append(f"{rate:.3g} clips/s, {realtime:.3g}× real time")
    if summary.waiting:
        others = ", ".join(map(str, summary.waiting))
        return f"features {dataset} {label}: {', '.join(parts)}; not finalized yet, still missing: --shard {others}"
    return f"features {dataset} {label}: {', '.join(parts)} → {summary.path}"


def licence_note(spec: BackboneSpec) -> str | None:
    """Return a line about weights or features without commercial use; None for others and unknown licences."""
    record = record_of_weights(spec.name, spec.weights)
    if record is None or record.commercial_use is not False:
        return None
    what = "features" if record.weights is None else "weights"
    return f"{spec.title}: the licence of its {what} ({record.licence}) does not allow commercial use"


def rounding_text(error: float) -> str:
    """Word the largest relative error of vectors that are stored in a smaller type."""
    return f"the relative error of a clip's vector is at most {error:.1e} on any layer"


def announce(label: str, corpus: Corpus, spec: BackboneSpec, settings: Settings, cache: Path, console: Console) -> None:
    """Print what a run would compute."""
    work = make_worklist(corpus, spec, settings, cache)
    elsewhere = {clip for held in held_elsewhere(work) for clip in held.ids}
    todo = work.todo[~corpus.manifest.clips["id"].iloc[work.todo].isin(elsewhere).to_numpy()]
    clips = [content for content in corpus.contents.take(todo) if not content.failure]
    failed = len(work.failed) + len(todo) - len(clips)
    seconds = sum(content.duration_s for content in clips)
    console.line(
        f"features {corpus.manifest.name} {label}: would compute {len(clips)} clips ({seconds:.0f} s of audio), "
        f"reuse {len(work.reused) + len(elsewhere)}{f', {failed} failed' if failed else ''} → {work.path}"
    )


class StageBar:
    """Progress bar of stage 1, opened when there is something to compute."""

    def __init__(self, label: str, console: Console, stack: ExitStack) -> None:
        """Create a closed bar.

        Args:
            label: Label of the backbone.
            console: Console that shows the bar.
            stack: Closes the bar at its exit.
        """
        self._label = label
        self._console = console
        self._stack = stack
        self._work: ProgressTask | None = None

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Open the bar if there are clips to compute."""
        if clips:
            self._work = self._stack.enter_context(self._console.progress(f"features {self._label}", clips))

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """Advance the bar."""
        if self._work is not None:
            self._work.advance(clips, audio_s, failed)

    def note(self, message: str) -> None:
        """Print a line above the bar."""
        self._console.note(f"{self._label}: {message}")
