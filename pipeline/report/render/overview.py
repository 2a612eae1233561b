"""The overview of a page with several experiments: their answers and a joint table of all models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.analysis.verdict import verdict
from pipeline.report.sentence import Sentence
from pipeline.report.study import Study
from pipeline.results.table import headings, shown_rows

SHOWN = ("model", "head", "tied", "score", "interval", "weights")


@dataclass(frozen=True)
class Line:
    """One model in the joint table.

    Attributes:
        run: Name of the experiment.
        dataset: Name of the dataset.
        protocol: The protocol.
        metric: Name of the score.
        score: The score, for sorting.
        texts: The texts of the cells by the names in `SHOWN`.
        family: The column of `results.csv`.
        head: The column of `results.csv`.
    """

    run: str
    dataset: str
    protocol: str
    metric: str
    score: float
    texts: dict[str, str]
    family: str
    head: str


@dataclass(frozen=True)
class Answer:
    """One experiment's answer, and the prefix of its anchors."""

    run: str
    anchor: str
    lines: Sequence[Sentence]


def answers(studies: Sequence[Study], anchors: Sequence[str]) -> list[Answer]:
    """Return the answer of each experiment."""
    return [Answer(study.config.name, anchor, verdict(study)) for study, anchor in zip(studies, anchors, strict=True)]


def lines(studies: Sequence[Study]) -> list[Line]:
    """Return every model of every experiment, in the order of the experiments, with the numbers of `results.md`."""
    found = []
    for study in studies:
        names = headings(study.table)
        score = "value" if "value" in names else "accuracy"
        interval = "value_interval" if "value" in names else "interval"
        for model, row in zip(study.models, shown_rows(study.table), strict=True):
            texts = dict(zip(names, row, strict=True))
            texts |= {"score": texts[score], "interval": texts[interval]}
            found.append(
                Line(
                    study.config.name,
                    study.manifest.name,
                    str(model.row["protocol"]),
                    str(model.row.get("metric") or "accuracy"),
                    float(model.row[score]),
                    {name: texts[name] for name in SHOWN},
                    str(model.row["family"]),
                    str(model.row["head"]),
                )
            )
    return found
