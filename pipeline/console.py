"""Console output: result lines and tables, log lines, progress bars, in colour on a terminal."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from pipeline.progress import ProgressTask, Rates

LINE_EVERY_S = 60.0  # away from a terminal, a running task prints a line after this time without output
_WIDE = 100_000  # characters; nothing is wrapped when the output is not a terminal
_FOLDED = 26  # minimum width in characters of a column that may wrap
_GAP = 2  # characters between columns
_ROOMY = 100  # width in characters of a terminal on which a bar has all its rates
_OURS = ("features", "heads", "pipeline")
BEST, CAUTION = "green", "yellow"  # colours; rich omits them away from a terminal and where NO_COLOR is set
# heading, start of the cell, colour of the row
ROW_COLOURS = (("best", "best", BEST), ("weights", "untrained", CAUTION))
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


def escape_controls(text: str) -> str:
    r"""Return text with control characters written as `\x1b`: names from files could otherwise steer a terminal."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Console:
    """Results go to stdout; log lines and progress bars share stderr.

    Text is never parsed as rich markup, and it is wrapped only on a terminal.

    Attributes:
        out: The rich console of results.
        err: The rich console of log lines, bars and errors.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Bind to the current stdout and stderr.

        Args:
            quiet: Print nothing.
        """
        self.out = RichConsole(markup=False, highlight=False, emoji=False, quiet=quiet)
        self.err = RichConsole(markup=False, highlight=False, emoji=False, quiet=quiet, stderr=True)
        for console in (self.out, self.err):
            if not console.is_terminal:
                console.width = _WIDE
        self._last_output = time.monotonic()
        self._places: list[str] = []

    def line(self, text: str, style: str = "") -> None:
        """Print one result line on stdout, in a colour such as `CAUTION` or in none."""
        self._last_output = time.monotonic()
        self.out.print(Text(escape_controls(text), style=style), soft_wrap=True)

    def note(self, text: str, style: str = "") -> None:
        """Print one line about what is happening on stderr, in a colour or in none."""
        self._last_output = time.monotonic()
        self.err.print(Text(escape_controls(text), style=style), soft_wrap=True)

    def warning(self, text: str) -> None:
        """Print a warning on stderr."""
        self.note(f"warning: {text}", CAUTION)

    def error(self, text: str) -> None:
        """Print an error message on stderr."""
        self.err.print(Text(escape_controls(text), style="red"), soft_wrap=True)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        *,
        title: str | None = None,
        right: Sequence[str] = (),
        foldable: Sequence[str] = (),
        spare: Sequence[str] = (),
    ) -> list[str]:
        """Print a table on stdout. Rows have the colours of `ROW_COLOURS`.

        Args:
            columns: Column headings.
            rows: Rows with one cell per column.
            title: Line above the table.
            right: Headings of the columns that hold numbers.
            foldable: Headings of the columns whose cells may wrap; names and numbers should not.
            spare: Headings of the columns to drop on a narrow terminal, in the order in which they are dropped.

        Returns:
            The headings of the dropped columns.
        """
        texts = [[escape_controls(str(cell)) for cell in row] for row in rows]
        widths = [max(map(cell_len, (name, *cells))) for name, *cells in zip(columns, *texts, strict=True)]
        least = [
            min(width, _FOLDED) if name in foldable else width for name, width in zip(columns, widths, strict=True)
        ]
        needed = dict(zip(columns, least, strict=True))
        left_out: list[str] = []
        for name in spare:
            if _total(needed) > self.out.width:
                left_out.append(name)
                del needed[name]
        if title:
            self.line(title)
        table = Table(box=None, pad_edge=False)
        for column in columns:
            if column not in left_out:
                justify: Literal["left", "right"] = "right" if column in right else "left"
                table.add_column(Text(column), justify=justify, overflow="fold", no_wrap=column not in foldable)
        for cells in texts:
            row = dict(zip(columns, cells, strict=True))
            colours = [colour for name, start, colour in ROW_COLOURS if row.get(name, "").startswith(start)]
            table.add_row(*(Text(row[name]) for name in columns if name not in left_out), style=next(iter(colours), ""))
        self.out.print(table)
        return left_out

    @contextmanager
    def within(self, place: str) -> Iterator[None]:
        """Name the part of the work that the block does, such as `stage 2 of 3`, in its progress bars."""
        self._places.append(place)
        try:
            yield
        finally:
            self._places.pop()

    @contextmanager
    def stage(self, number: int, total: int, what: str) -> Iterator[None]:
        """Announce a stage of a run, and name it in the progress bars of the block."""
        place = f"stage {number} of {total}"
        self.note(f"{place}: {what}")
        with self.within(place):
            yield

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str = "clips") -> Iterator[ProgressTask]:
        """Show a bar with rates, time left and failures while the block runs.

        The parts of the work that `within` names come first: `stage 2 of 3, model 4 of 9: mfcc linear`. If stderr is
        not a terminal, print a line after each minute without other output instead.

        Args:
            description: Name of the task, such as `features mfcc`.
            total: Number of units; None while unknown.
            unit: Name of the counted unit; empty if nothing is counted.
        """
        if self._places:
            description = f"{', '.join(self._places)}: {description}"
        bar = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(20),
            Rates(unit, with_audio=self.err.width >= _ROOMY),
            TimeRemainingColumn(),
            console=self.err,
            disable=not self.err.is_terminal,
            transient=True,
        )
        with bar:
            work = ProgressTask(bar, bar.add_task(description, total=total), unit)
            with self._reminders(work) if bar.disable else nullcontext():
                yield work

    @contextmanager
    def _reminders(self, work: ProgressTask) -> Iterator[None]:
        """Print a line about a task whenever nothing was printed for `LINE_EVERY_S`, also by earlier tasks."""
        ended = threading.Event()

        def remind() -> None:
            while not ended.wait(max(0.0, self._last_output + LINE_EVERY_S - time.monotonic())):
                if time.monotonic() >= self._last_output + LINE_EVERY_S:
                    self.note(str(work))

        thread = threading.Thread(target=remind, name="reminders", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def start_logging(self, *, verbose: bool) -> None:
        """Send the program's log lines and Python's warnings to stderr.

        Args:
            verbose: Show debug lines and the warnings that libraries raise.
        """
        handler = _LogLines(self)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        for name in _OURS:
            logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").setLevel(logging.WARNING if verbose else logging.ERROR)


def _total(widths: Mapping[str, int]) -> int:
    """Return the width of a table with these columns."""
    return sum(widths.values()) + _GAP * (len(widths) - 1)


class _LogLines(logging.Handler):
    """Log handler that prints above the progress bar, through the console that draws it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = self.format(record)
        if record.levelno < logging.WARNING:
            self.console.note(text)
        else:
            self.console.note(f"{record.levelname.lower()}: {text}", CAUTION)
