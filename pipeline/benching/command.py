"""`audioheads bench`: find the model, measure it, and print its figures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features.json_files import try_object
from pipeline.benching.options import BenchOptions
from pipeline.console import Console
from pipeline.predicting.command import FitChoice
from pipeline.predicting.locate import EXPORT_FILE, ONNX_FORMAT, choose, find_model


def run_bench(model: Path, choice: FitChoice, options: BenchOptions, *, as_json: bool, console: Console) -> None:
    """Measure a trained model and print its figures.

    Args:
        model: See `locate.find_model`; or a folder of `export --format onnx`.
        choice: The fits to measure.
        options: How they are measured.
        as_json: Print JSON.
        console: Prints the figures.

    Raises:
        UserError: There is no such model.
        RunError: The model cannot be measured.
    """
    about: Mapping[str, Any] = try_object(model / EXPORT_FILE) or {}
    has_graphs = about.get("format") == ONNX_FORMAT
    chosen, which = (None, "") if has_graphs else choose(find_model(model), choice.fold, choice.seed, choice.ensemble)
    from pipeline.benching.figures import HEADINGS, conditions, machine_text
    from pipeline.benching.runtimes import bench_graphs, bench_model

    with tempfile.TemporaryDirectory(prefix="audioheads-") as scratch, console.progress("bench", None, ""):
        if chosen is None:
            found = bench_graphs(model, about, options, Path(scratch))
        else:
            console.note(f"bench: {chosen.title}, {which}")
            found = bench_model(model, chosen, choice, options, Path(scratch))
    if as_json:
        content = {
            "model": str(model),
            "title": found.title,
            "fits": found.fits,
            "clips": found.clips.what,
            "durations_s": found.clips.durations_s,
            "runtimes": [one.entry() for one in found.figures],
            "notes": found.notes,
            "machine": found.machine,
        }
        console.line(json.dumps(content, indent=1, ensure_ascii=False))
        return
    console.table(HEADINGS, [one.row() for one in found.figures], right=HEADINGS[1:])
    for line in (*found.notes, conditions(options.n_clips, found.clips), machine_text(found.machine)):
        console.line(line)
