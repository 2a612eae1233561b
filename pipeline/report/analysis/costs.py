"""What each model costs beside what it scores, and which models no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.study import Study, StudyModel


@dataclass(frozen=True)
class Cost:
    """One model.

    Attributes:
        title: Of the model.
        model: The backbone's or network's name.
        head: Its head, with the pooling where two would have the same; "" for a model trained end to end.
        untrained: Whether it is a control with random weights.
        score: Accuracy, mAP or CCC.
        low: Lower end of its interval.
        high: Upper end.
        clip_s: Seconds to embed one clip; for a model trained end to end, to prepare its input.
        train_s: Seconds of training: all folds, seeds and candidates.
        total_s: Both, over all clips: from audio to test predictions.
        parameters: Of backbone and head together, 0 where there are none; None where the backbone's are not known.
        device: Where it was computed: `cpu`, or `NVIDIA … + cpu` where embedding and training differ.
        frozen: Whether `clip_s` is what the whole model takes for a clip, but for its small head.
    """

    title: str
    model: str
    head: str
    untrained: bool
    score: float
    low: float
    high: float
    clip_s: float | None
    train_s: float | None
    total_s: float | None
    parameters: float | None
    device: str
    frozen: bool


def costs_of(study: Study) -> list[Cost]:
    """The cost of every model, in the order of the table."""
    usable = len(study.manifest) - len(study.failures)
    return [cost_of(model, study.score, usable) for model in study.models]


def cost_of(model: StudyModel, score: str, n_clips: int) -> Cost:
    """The cost of one model on `n_clips` clips; `score` is the column that ranks it."""
    row, details = model.row, model.details
    rate, train_s = _number(row["extract_clips_per_s"]), _number(row["train_seconds"])
    clip_s = 1 / rate if rate else None
    known = [seconds for seconds in (clip_s and clip_s * n_clips, train_s) if seconds is not None]
    devices = dict.fromkeys(str(details[key]) for key in ("extract_device", "train_device") if details.get(key))
    return Cost(
        title=model.title,
        model=str(row["model"]),
        head=model.title.removeprefix(str(row["model"])).removeprefix(" · "),
        untrained=model.is_control,
        score=float(row[score]),
        low=float(row[f"{score}_ci_low"]),
        high=float(row[f"{score}_ci_high"]),
        clip_s=clip_s,
        train_s=train_s,
        total_s=sum(known) if known else None,
        parameters=None if row["params_total"] is None else float(row["params_total"]),
        device=" + ".join(devices),
        frozen=row["family"] in ("frozen", "handcrafted"),
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the (cost, score) pairs that no other beats in one of the two without being worse in the other.

    Args:
        points: Finite numbers; a low cost and a high score are good. Of equal pairs all are on the front.

    Returns:
        By rising cost, then by position.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1], at))
    front: list[int] = []
    for at in order:
        if not front or points[at][1] > points[front[-1]][1] or points[at] == points[front[-1]]:
            front.append(at)
    return front


def _number(value: Any) -> float | None:
    """A positive, finite number: what a logarithmic axis can show."""
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return float(value)
