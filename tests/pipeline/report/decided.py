"""Studies whose models have calibration maps and thresholds."""

from pathlib import Path

import numpy as np

from heads.evaluation.decisions.operating_points import Rule
from pipeline.report.study import Study
from tests.heads.evaluation.decisions.test_calibrators import clips
from tests.pipeline.report.test_decisions import N, model
from tests.pipeline.report.toy_studies import study_of


def decided_study(folder: Path, task: str, *, method: str | None = "temperature", rule: Rule | None = None) -> Study:
    """Two models of two seeds, one of them too certain, with the decisions that were fitted on their validation clips.

    Args:
        folder: An empty folder.
        task: `single-label` or `multi-label`.
        method: Kind of map; None: none.
        rule: What thresholds should achieve; None: there are none.
    """
    probabilities = {}
    for name, off in (("certain", 3.0), ("calibrated", 1.0)):
        trained = folder / "runs" / "toy" / "models" / name / "linear"
        trained.mkdir(parents=True)
        _, manifest, _, _ = model(trained, task, off=off, method=method, rule=rule)
        probabilities[f"{name} · linear"] = np.stack([clips(task, off, N)[0]] * 2)
    return study_of(manifest, probabilities, folder=folder, majority=task == "single-label")
