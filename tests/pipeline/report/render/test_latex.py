"""`results.tex`: no name contains a command, a comment or the end of a cell."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from pipeline.report.render.latex import escape, latex
from tests.pipeline.report.hostile import NAMES
from tests.pipeline.report.toy_studies import manifest_of, study_of

COMMANDS = {
    "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "textasciigrave",
    "textquotedbl", "textperiodcentered", "ldots", *"{}$%&#_",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & c", r"a\_b \& c"),
        ("100 %", r"100 \%"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("<b>|", r"\textless{}b\textgreater{}\textbar{}"),
        ("[x]*", "{[}x{]}{*}"),  # after the end of a line these would be its options
        ("0.1–0.2", "0.1--0.2"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("two\nlines\ttab", "two lines tab"),
        ("\u202eevil\u200f\x00", "evil"),
        ("Möwe 海", "Möwe 海"),
    ],
)
def test_text_stays_text(text, escaped):
    assert escape(text) == escaped


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_hold_no_command_of_their_own(name):
    escaped = escape(name)
    assert set(re.findall(r"\\([a-zA-Z]+|.)", escaped)) <= COMMANDS
    bare = re.sub(r"\\([a-zA-Z]+|.)", "", escaped)
    assert not re.search(r"[$%&#_~^\\\n]", bare)
    assert bare.count("{") == bare.count("}")


def test_each_model_is_one_row_with_every_column(tmp_path):
    rng = np.random.default_rng(0)
    manifest = manifest_of([f"c{row % 2}" for row in range(20)])
    names = [f"{name} · linear" for name in NAMES if " · " not in name]
    study = study_of(manifest, {name: rng.dirichlet([1, 1], (1, 20)) for name in names}, folder=tmp_path)
    text = latex([study.table])
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    lines = body.splitlines()
    assert len(lines) == len(names)
    columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1])
    for line in lines:
        assert line.endswith(r" \\") and len(re.findall(r"(?<!\\)&", line)) == columns - 1


@pytest.mark.docs
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs")
def test_latex_sets_every_hostile_name(tmp_path):
    rows = "\n".join(rf"{escape(name)} & 1 \\" for name in NAMES)
    (tmp_path / "names.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\begin{document}\n"
        f"\\begin{{tabular}}{{lr}}\\toprule\n{rows}\n\\bottomrule\\end{{tabular}}\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "names.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
