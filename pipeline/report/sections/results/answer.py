"""Results: the answer in three lines, then the results table."""

from __future__ import annotations

import shlex

from heads.evaluation.majority import ANSWERS
from pipeline.report.analysis.caveats import caveats
from pipeline.report.analysis.verdict import nothing_learned, verdict
from pipeline.report.section import Section
from pipeline.report.sections.results.models_table import models_table
from pipeline.report.study import Study, StudyModel
from pipeline.results.table import BUSY, THROUGHPUT, counted, legend, some_busy


def section(study: Study) -> Section:
    """Build the results section: the answer and a sortable, filterable table of all models."""
    failed = len(study.failures)
    return Section(
        key="answer",
        title="Results",
        template="answer.html",
        context={
            "lines": verdict(study),
            "caveats": caveats(study),
            "table": models_table(study),
            "families": sorted({str(model.row["family"]) for model in study.models}),
            "heads": sorted({str(model.row["head"]) for model in study.learned}),
            "legend": legend(study.table, hidden=[THROUGHPUT]),
            "busy": BUSY if some_busy(study.table) else "",
            "baseline": study.baseline.row["model"] if study.baseline else "",
            "baseline_answers": ANSWERS[study.manifest.task],
            "has_controls": any(model.is_control for model in study.models),
            "failed": counted(failed, "clip") if failed else "",
            "n_clips": len(study.manifest),
            "n_test": int(study.models[0].row["n_test"]),
            "warnings": study.warnings,
            "commands": [] if nothing_learned(study) else commands(study.learned[0]),
            "protocol": study.learned[0].row["protocol"],
            "folds": counted(int(study.models[0].row["n_folds"]), "fold"),
            "seeds": counted(int(study.models[0].row["n_seeds"]), "seed"),
            "dataset": study.manifest.name,
        },
    )


def commands(model: StudyModel) -> list[tuple[str, str]]:
    """Return what can be done with a model: a description and the command."""
    folder = shlex.quote(str(model.fit.folder))
    return [
        ("Classify new recordings:", f"audioheads predict {folder} new.wav"),
        ("Write a folder that works without this run:", f"audioheads export {folder} my-model"),
    ]
