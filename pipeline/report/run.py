"""Stage 3: report the stored predictions of one or several experiments as a page, tables and console output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from features.corpus import Corpus
from features.errors import RunError, UserError
from pipeline.config.config import Config
from pipeline.console import CAUTION, Console
from pipeline.report.analysis.caveats import caveats
from pipeline.report.analysis.verdict import verdict
from pipeline.report.render.audio import AudioMode, audio_of, audio_of_windows, audio_sources, remove_unused
from pipeline.report.render.files import write_tables, written
from pipeline.report.render.page import Part, page_of
from pipeline.report.render.pictures import MOST_PICTURES, pictures_of
from pipeline.report.render.saved_figures import save_figures
from pipeline.report.section import build, clips_of, windows_of
from pipeline.report.sections import SECTIONS
from pipeline.report.sentence import text_of
from pipeline.report.study import Study, gather
from pipeline.results.run_folder import write_text
from pipeline.results.run_lock import locked
from pipeline.results.table import NUMBERS, SPARE, counted, headings, legend, shown_rows, title
from pipeline.stages.features import load_corpus
from pipeline.stages.label_efficiency import CURVE_NUMBERS, curve_cells

LARGE_PAGE_BYTES = 50_000_000  # too large for many mail servers and phones


def run_report(
    *configs: Config,
    console: Console,
    output: Path | None = None,
    audio: AudioMode = "link",
    corpora: Sequence[Corpus] | None = None,
) -> None:
    """Score all trained models, write the page, tables and figures, and print the tables.

    Args:
        configs: The experiments on the page.
        console: Prints the tables.
        output: The folder to write; None uses `report_folder`.
        audio: How the page gets the audio of the clips, see `audio_sources`.
        corpora: One corpus per config, from `load_corpus`; None loads them.

    Raises:
        UserError: A model of a config is not trained yet, or two configs are the same run.
        RunError: The report cannot be written.
    """
    check_runs(configs)
    folder = output or report_folder(configs)
    with locked([*(config.run_dir for config in configs), folder], console.note):
        _write(configs, console, folder, audio, corpora)


def _write(
    configs: Sequence[Config], console: Console, folder: Path, audio: AudioMode, corpora: Sequence[Corpus] | None
) -> None:
    """Write the report of some runs that nothing else writes to at this time."""
    with console.progress("report: scores", None, ""):
        studies = list(map(gather, configs, corpora or load_corpora(configs)))
    try:
        write_tables(folder, studies)
        parts = [
            _part(study, folder, audio, console, f"study-{number}" if len(studies) > 1 else "")
            for number, study in enumerate(studies, 1)
        ]
        page = page_of(parts, written(folder))
        write_text(folder / "index.html", page)
        remove_unused(folder, (source for part in parts for source in part.every_source))
        with console.progress("report: figures", None, ""):
            save_figures(folder / "figures", {name: figure for part in parts for name, figure in part.figures.items()})
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror or error})") from error
    for study in studies:
        _print(study, console)
    if audio != "link":
        _print_audio(parts, folder, audio, len(page.encode("utf-8", "replace")), console)
    names = " + ".join(study.manifest.name for study in studies)
    rows = sum(len(study.table) for study in studies)
    files = ["results.csv, .md, .tex, .json", *(["classes.csv"] if (folder / "classes.csv").exists() else [])]
    console.line(f"report {names}: {counted(rows, 'row')} → {folder}/index.html, {', '.join(files)}, figures/")


def load_corpora(configs: Sequence[Config]) -> list[Corpus]:
    """Load the clips of each experiment. Experiments on the same dataset share one corpus, so its files are read once.

    Raises:
        ManifestError: Clips cannot be listed or do not fit a protocol.
    """
    corpora: list[Corpus] = []
    for config in configs:
        corpus = load_corpus(config)  # also checks the protocol, so it runs for every config
        loaded = zip(configs, corpora, strict=False)
        same = [one for other, one in loaded if _same_clips(other, config) and one.folder == corpus.folder]
        corpora.append(same[0] if same else corpus)
    return corpora


def _same_clips(one: Config, other: Config) -> bool:
    """Return whether two experiments have the same clips and background."""
    keys = {"dataset", "background", "background_in", "split_seed"} if one.background else {"dataset", "background"}
    return one.model_dump(include=keys) == other.model_dump(include=keys)


def report_folder(configs: Sequence[Config]) -> Path:
    """Return the default folder of a report: `report/` in the run's folder, or `reports/<names>` for several runs."""
    if len(configs) == 1:
        return configs[0].run_dir / "report"
    return configs[0].output.runs / "reports" / "+".join(config.name for config in configs)[:120]


def check_runs(configs: Sequence[Config]) -> None:
    """Check that no run is given twice.

    Raises:
        UserError: Two configs have the same name and the same folder of runs.
    """
    seen: dict[Path, Config] = {}
    for config in configs:
        other = seen.setdefault(config.run_dir.absolute(), config)
        if other is not config:
            raise UserError(
                f"{config._source} and {other._source} are both the run {config.run_dir}; give one another `name`"
            )


def _part(study: Study, folder: Path, audio: AudioMode, console: Console, anchor: str) -> Part:
    with console.progress("report: sections", None, ""):
        sections = build(study, SECTIONS)
    clips, windows = clips_of(sections), windows_of(sections)
    heard = [*audio_of(study, clips), *audio_of_windows(study, windows)]
    with console.progress(f"audio {study.manifest.name}", len(heard)) as work:
        sources = audio_sources(study, heard, folder, audio, work.advance)
    of_windows = dict(zip(windows, sources[len(clips) :], strict=True))
    with console.progress(f"pictures {study.manifest.name}", min(len(clips), MOST_PICTURES)) as work:
        pictures = pictures_of(study, clips, work.advance)
    return Part(study, sections, sources[: len(clips)], anchor, of_windows, pictures)


def _print(study: Study, console: Console) -> None:
    """Print the tables, the answer, the warnings and the failures of one experiment."""
    table, failures = study.table, study.failures
    left_out = console.table(
        list(headings(table).values()),
        shown_rows(table),
        title=title(table),
        right=NUMBERS,
        foldable=["weights"],
        spare=SPARE,
    )
    if left_out:
        console.line(f"the terminal is too narrow for {', '.join(left_out)}; results.md contains all columns")
    console.line(legend(table, left_out))
    for line in (*verdict(study), *caveats(study)):
        console.line(text_of(line))
    if len(study.curve):
        shown = curve_cells(study.curve)
        console.table(
            list(shown), list(zip(*shown.values(), strict=True)), title="label efficiency", right=CURVE_NUMBERS
        )
    for warning in study.warnings:
        console.line(f"warning: {warning}", CAUTION)
    if failures:
        clip, reason = next(iter(failures.items()))
        console.line(
            f"{counted(len(failures), 'clip')} failed, not scored; first {clip}: {reason} (results.md lists all)"
        )


def _print_audio(parts: Sequence[Part], folder: Path, audio: AudioMode, page_bytes: int, console: Console) -> None:
    """Print how much audio was embedded or copied."""
    sources = [source for part in parts for source in part.every_source]
    stored = {source for source in sources if source}
    missing = f", {counted(sources.count(None), 'clip')} without audio" if None in sources else ""
    if audio == "embed":
        size = sum(len(source) for source in stored)
        console.line(f"audio: {counted(len(stored), 'clip')} in the page, {size / 1e6:.1f} MB of it{missing}")
        if page_bytes > LARGE_PAGE_BYTES:
            console.line(f"the page has {page_bytes / 1e6:.0f} MB; --copy-audio stores the audio in a folder instead")
    else:
        size = sum((folder / source).stat().st_size for source in stored)
        console.line(f"audio: {counted(len(stored), 'file')}, {size / 1e6:.1f} MB, copied to {folder}/audio{missing}")
