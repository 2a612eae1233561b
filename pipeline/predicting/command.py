"""`audioheads predict`: apply a trained model to new audio and write one row per clip or window."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import RunError, UserError
from features.system.signals import terminated_by_exception
from pipeline.console import Console
from pipeline.predicting.event_formats import check_recordings, event_format, write_events
from pipeline.predicting.events import EventOptions, events_of
from pipeline.predicting.locate import Ensemble, choose, find_model
from pipeline.predicting.output_formats import Answers, Scored, format_of, write
from pipeline.predicting.shown_rows import show
from pipeline.recordings.clips import ClipsToScore, Cut, find_clips, read_clips
from pipeline.results.table import counted

if TYPE_CHECKING:
    import numpy as np

    from pipeline.predicting.predictor import Predictor
    from pipeline.predicting.resume import Parts

TOP_K = 5  # classes per row by default


@dataclass(frozen=True)
class FitChoice:
    """Which fits of a model to use, and how to load them.

    Attributes:
        fold: Use only the fit of this fold; None: average all folds.
        seed: Seed of the fits; None: the first.
        ensemble: See `locate.choose`.
        trusted: Types that a `sklearn` head may contain.
        weights: Backbone weights, if they moved since training.
    """

    fold: str | None = None
    seed: int | None = None
    ensemble: Ensemble | None = None
    trusted: tuple[str, ...] = ()
    weights: str | None = None


@dataclass(frozen=True)
class OutputOptions:
    """What to write, and where.

    Attributes:
        output: The output file; None: stdout.
        format: `csv`, `jsonl` or `parquet`; None: chosen by the suffix of the file.
        top_k: Number of classes per row; 0: all; None: `TOP_K`.
        windows: Score windows of long clips instead of whole clips.
        window_s: Window length in seconds; None: the median length of the training clips.
        hop_s: Step between windows in seconds; None: the window length.
        decide: Add the decision by the thresholds of the model, and its score.
        events: File of the events that windows with the same decision form; None: none is written.
        events_format: `csv`, `audacity` or `raven`; None: chosen by the suffix of the file.
        merging: How windows become events.
    """

    output: Path | None = None
    format: str | None = None
    top_k: int | None = None
    windows: bool = False
    window_s: float | None = None
    hop_s: float | None = None
    decide: bool = False
    events: Path | None = None
    events_format: str | None = None
    merging: EventOptions = field(default_factory=EventOptions)

    def __post_init__(self) -> None:
        """Check that options are not contradictory.

        Raises:
            UserError: Events lack windows or decisions, or options of events are given without events.
        """
        if self.events is not None and not (self.windows and self.decide):
            raise UserError(
                f"--events {self.events}: events are made of decided windows; add --windows --operating-point"
            )
        if self.events is None and (self.events_format is not None or self.merging != EventOptions()):
            raise UserError("--events-format, --release and --min-event-s need --events FILE")

    @property
    def is_short(self) -> bool:
        """Whether a terminal shows a short table: no file, format or number of classes is requested."""
        return self.output is None and self.format is None and self.top_k is None


def run_predict(
    model: Path,
    audio: Sequence[str],
    choice: FitChoice,
    options: OutputOptions,
    *,
    device: str,
    strict: bool,
    console: Console,
) -> None:
    """Score audio with a trained model.

    Args:
        model: See `locate.find_model`.
        audio: See `audio.find_clips`.
        choice: The fits to use.
        options: What to write.
        device: `auto`, or a torch device.
        strict: Treat a clip that cannot be scored as an error, raised after all others are written.
        console: Prints notes.

    Raises:
        AudioheadsError: The model or the audio cannot be used, or more than half of the clips fail.
    """
    kind = format_of(options.output, options.format)
    events_kind = None if options.events is None else event_format(options.events, options.events_format)
    found, which = choose(find_model(model), choice.fold, choice.seed, choice.ensemble)
    manifest = find_clips(audio, sys.stdin)
    from pipeline.predicting.predictor import Predictor
    from pipeline.predicting.resume import Parts

    with redirect_stdout(sys.stderr):  # a user's own model may print, and stdout is for the results
        predictor = Predictor(found, device=device, trusted=choice.trusted, weights=choice.weights)
    point = predictor.fitted.point
    if options.decide and point is None:
        raise UserError(
            f"--operating-point: {found.title} has no thresholds; set `operating_point` in its config and run "
            "`audioheads train-heads`"
        )
    if events_kind is not None:
        check_recordings(events_kind, [str(clip) for clip in manifest.clips["id"]])
    console.note(f"predict: {found.title}, {which}{', untrained weights' if found.untrained else ''}")
    with terminated_by_exception(), ExitStack() as stack:
        parts = None
        if options.output is not None:
            parts = stack.enter_context(Parts(options.output, predictor.digest, console.note))
        folder = parts.folder if parts else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audioheads-")))
        cut = _cut(options, predictor, console)
        with console.progress("predict: reading files", None, ""):
            clips = read_clips(manifest, cut, folder)
        with redirect_stdout(sys.stderr):
            rows = _score(predictor, clips, parts, folder, console)
        wanted = TOP_K if options.top_k is None else options.top_k
        top_k = min(wanted or predictor.n_outputs, predictor.n_outputs)
        decided = point if options.decide else None
        answers = Answers(predictor.labels, predictor.task, top_k, predictor.thresholds, decided)
        if options.is_short and sys.stdout.isatty():
            show(rows, answers, console)
        else:
            write(rows, answers, kind, options.output)
        if options.events is not None and events_kind is not None and point is not None:
            abstain = point.rule.below is not None
            events = events_of(
                rows, predictor.labels, point.thresholds, predictor.task, options.merging, abstain=abstain
            )
            events = [event for event in events if event.label != predictor.fitted.background]
            write_events(events, events_kind, options.events)
            console.note(f"predict: {counted(len(events), 'event')} → {options.events}")
        if parts:
            parts.remove()
    _conclude(rows, options, strict, console)


def _cut(options: OutputOptions, predictor: Predictor, console: Console) -> Cut | None:
    """Return the requested windows, or None for whole clips."""
    if not options.windows:
        if options.window_s is not None or options.hop_s is not None:
            raise UserError("--window-s and --hop-s need --windows")
        return None
    window_s = options.window_s or predictor.fitted.clip_s
    if window_s is None:
        raise UserError("--windows: the model does not record the length of its training clips; give --window-s")
    cut = Cut(window_s, window_s if options.hop_s is None else options.hop_s)
    console.note(f"predict: windows of {cut.window_s:g} s every {cut.hop_s:g} s")
    return cut


def _score(
    predictor: Predictor, clips: ClipsToScore, parts: Parts | None, folder: Path, console: Console
) -> list[Scored]:
    """Return the outputs of all rows in input order, including those of an interrupted run."""
    from pipeline.stages.features_output import StageBar

    outputs = dict(parts.done) if parts else {}  # by content key
    ids = [str(clip) for clip in clips.manifest.clips["id"]]
    key_of = {clip: content.key for clip, content in zip(ids, clips.contents, strict=True)}
    todo = [row for row, content in enumerate(clips.contents) if content.failure or content.key not in outputs]
    if reused := len(ids) - len(todo):
        console.note(f"predict: {reused} already done")

    def take(done: Sequence[str], values: np.ndarray) -> None:
        keys = [key_of[clip] for clip in done]
        if parts and keys:
            parts.add(keys, values)
        outputs.update(zip(keys, values, strict=True))

    with ExitStack() as stack:
        bar = StageBar("predict", console, stack)
        failures = predictor.run(clips.manifest, clips.contents, todo, bar, take, folder)
    rows = []
    for at, clip in enumerate(ids):
        error = failures.get(clip, "")
        place: tuple[float | None, float | None] = (None, None)
        if clips.starts_s is not None and clips.ends_s is not None:
            place = (math.nan, math.nan) if error else (clips.starts_s[at], clips.ends_s[at])
        rows.append(Scored(clips.ids[at], None if error else outputs[key_of[clip]], *place, error))
    return rows


def _conclude(rows: Sequence[Scored], options: OutputOptions, strict: bool, console: Console) -> None:
    """Print what was written and what failed.

    Raises:
        RunError: More than half of the clips failed, or one under `strict`.
    """
    from pipeline.stages.features import FAILURES_SHOWN

    failed = {row.id: row.error for row in rows if row.error}
    clips = len({row.id for row in rows})
    for clip, reason in list(failed.items())[: None if strict else FAILURES_SHOWN]:
        console.note(f"  failed {clip}: {reason}")
    if len(failed) > FAILURES_SHOWN and not strict:
        console.note(f"  … and {len(failed) - FAILURES_SHOWN} more, see the column error")
    where = options.output or "stdout"
    scored = sum(not row.error for row in rows)
    windows = f", {counted(scored, 'window')}" if options.windows else ""
    console.note(f"predict: {counted(clips - len(failed), 'clip')}{windows} scored, {len(failed)} failed → {where}")
    if failed and (strict or len(failed) * 2 > clips):
        why = "and --strict makes that an error" if strict else f"first {next(iter(failed))!r}"
        raise RunError(f"{len(failed)} of {counted(clips, 'clip')} cannot be scored, {why}")
