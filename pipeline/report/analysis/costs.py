"""Cost and score of each model, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.study import Study, StudyModel
from pipeline.results.table import counted


@dataclass(frozen=True)
class Cost:
    """Cost and score of one model.

    Attributes:
        title: Display name of the model.
        model: Name of the backbone or network.
        head: Its head, with the pooling if two titles would be equal; "" for a model trained end to end.
        untrained: Whether it is an untrained control.
        score: Accuracy, mAP or CCC.
        low: Lower end of its interval.
        high: Upper end.
        clip_s: Seconds to embed one clip; for a model trained end to end, seconds to prepare its input.
        train_s: Seconds of training over all folds, seeds and candidates.
        total_s: Seconds of embedding all clips and of training.
        parameters: Parameters of backbone and head together; None if those of the backbone are unknown.
        device: The device, such as `cpu`, or `NVIDIA … + cpu` if embedding and training used different ones.
        frozen: Whether the backbone is frozen, so that `clip_s` covers the whole model except its small head.
        latency_ms: Time of one clip from its samples to its scores in milliseconds, on the CPU; None if not measured.
        realtime_factor: Seconds of audio per second of that time.
        size_mb: Size of backbone and head on disk in 10^6 bytes.
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
    latency_ms: float | None
    realtime_factor: float | None
    size_mb: float | None


def costs_of(study: Study) -> list[Cost]:
    """Return the cost of every model, in the order of the table."""
    usable = len(study.manifest) - len(study.failures)
    return [cost_of(model, study.score, usable) for model in study.learned]


def cost_of(model: StudyModel, score: str, n_clips: int) -> Cost:
    """Return the cost of one model on `n_clips` clips; `score` is the column of its score."""
    row, details = model.row, model.details
    rate, train_s = _number(row["extract_clips_per_s"]), _number(row["train_seconds"])
    clip_s = 1 / rate if rate else None
    known = [seconds for seconds in (clip_s and clip_s * n_clips, train_s) if seconds is not None]
    devices = dict.fromkeys(str(details[key]) for key in ("extract_device", "train_device") if details.get(key))
    return Cost(
        title=model.title,
        model=str(row["model"]),
        head=model.head_title,
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
        latency_ms=_number(row.get("latency_ms")),
        realtime_factor=_number(row.get("realtime_factor")),
        size_mb=_number(row.get("size_mb")),
    )


def conditions_of(study: Study) -> list[str]:
    """Return on what the time of one clip was measured: processor, threads, and the highest load if it was too high."""
    found: dict[str, float] = {}
    for model in study.learned:
        machine = (model.details.get("device") or {}).get("machine")
        if machine is not None:
            threads = counted(machine["threads"], "thread")
            name = f"{machine['processor'] or 'a processor of unknown name'}, {threads}"
            found[name] = max(found.get(name, 0.0), machine["load"] or 0.0)
    return [
        f"{name}; other programs kept the machine busy (load {load:.1f} per core), so the times are too long"
        if load > 1
        else name
        for name, load in found.items()
    ]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the positions of the Pareto-optimal (cost, score) pairs.

    Args:
        points: Pairs of finite numbers; lower cost and higher score are better. Equal pairs are all on the front.

    Returns:
        Positions by increasing cost, then by position.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1], at))
    front: list[int] = []
    for at in order:
        if not front or points[at][1] > points[front[-1]][1] or points[at] == points[front[-1]]:
            front.append(at)
    return front


def _number(value: Any) -> float | None:
    """Return a positive, finite number, since the axes are logarithmic; None for anything else."""
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return float(value)
