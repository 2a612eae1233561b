"""`results.tex`: the results table for papers, with booktabs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import pandas as pd

from pipeline.results.table import INDEPENDENT, N_GROUPS, NUMBERS, headings, legend, shown_rows, title

PREAMBLE = r"""% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}. pdfLaTeX sets Latin letters;
% names in other scripts need XeLaTeX or LuaLaTeX with a font that has them.
"""
_MARKS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ it would start an option
    "]": "{]}",
    "*": "{*}",  # after \\ it would be an option, too
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "—": "---",
    "·": r"\textperiodcentered{}",
    "…": r"\ldots{}",
    "\u00a0": "~",
}


def latex(tables: Sequence[pd.DataFrame]) -> str:
    """Return the results tables as LaTeX floats, one per experiment, with the numbers of `results.md`."""
    return PREAMBLE + "\n".join(_float(table) for table in tables)


def escape(text: str) -> str:
    r"""Escape text so that LaTeX typesets it verbatim, on one line.

    Control and direction characters are removed. `--`, `''` and `,,` do not form ligatures.
    """
    single = " ".join(str(text).split())
    visible = "".join(mark for mark in single if unicodedata.category(mark) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    escaped = "".join(_MARKS.get(mark, mark) for mark in visible)
    return re.sub(r"(?<=([-',]))(?=\1)", "{}", escaped) if re.search(r"--|''|,,", visible) else escaped


def _notes(table: pd.DataFrame) -> str:
    """Return the legend, and what is unknown about the independence of the clips, since a paper has no answer line."""
    unknown = not table[N_GROUPS].any()
    return f"{legend(table)} {INDEPENDENT}" if unknown else legend(table)


def _float(table: pd.DataFrame) -> str:
    head = list(headings(table).values())
    columns = "".join("r" if name in NUMBERS else "l" for name in head)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(title(table))}. {escape(_notes(table))}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escape, head)) + r" \\",
        r"\midrule",
        *(" & ".join(map(escape, row)) + r" \\" for row in shown_rows(table)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
