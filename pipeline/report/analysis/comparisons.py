"""Published figures beside ours: which of our models is meant, and in words what differs in how they were come by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from heads.kinds.sklearn.head import SklearnOptions
from heads.splits.feasibility import base_protocol
from pipeline.report.analysis.published_rows import PublishedProtocol, PublishedRow
from pipeline.report.study import Study, StudyModel

# Names of one and the same kind of head.
HEADS = {"logistic": "linear", "logistic regression": "linear", "forest": "random forest"}
CORPORA = ("esc50", "fsdd", "gtzan", "urbansound8k", "speech_commands")
DRAWN = ("kfold", "holdout", "leave-one-group-out")


@dataclass(frozen=True)
class PublishedComparison:
    """One published figure.

    Attributes:
        row: As published.
        ours: The model of ours whose protocol is nearest; None where we have not run it.
        mean_of_folds: Ours.
        pooled: Ours, over the test clips of all folds together, as in the results table.
        interval: Of `pooled`, 95 %.
        differences: What differs between the two, each in a few words.
        unsaid: What the source does not say.
    """

    row: PublishedRow
    ours: StudyModel | None = None
    mean_of_folds: float | None = None
    pooled: float | None = None
    interval: tuple[float, float] | None = None
    differences: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """An answer to "same protocol?" in words; never a plain yes."""
        if self.ours is None:
            return "not run here"
        parts = [f"no: {'; '.join(self.differences)}" if self.differences else "nothing that the source says differs"]
        if self.unsaid:
            parts.append(f"not said there: {', '.join(self.unsaid)}")
        return "; ".join(parts)


def compare_published(study: Study, rows: Sequence[PublishedRow]) -> list[PublishedComparison]:
    """Every published figure of the study's dataset, those first that we have a model for."""
    corpus = corpus_of(study)
    own = [row for row in rows if plain(row.dataset) == corpus]
    found = [_comparison(study, row) for row in own]
    return sorted(found, key=lambda one: one.ours is None)


def corpus_of(study: Study) -> str:
    """The corpus that a study is on: what its reader reads, whatever tables call it; ESC-10 is not ESC-50."""
    dataset = study.config.dataset
    kind = str(getattr(dataset, "kind", ""))
    if kind == "esc50":
        return plain(str(getattr(dataset, "subset", kind)))
    return plain(kind) if kind in CORPORA else plain(study.manifest.name)


def plain(name: str) -> str:
    """A name without case and punctuation: `ESC-50` and `esc50` are the same."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def is_same_model(row: PublishedRow, model: StudyModel) -> bool:
    """Whether our model is the published one, going by names; random weights never are.

    Where ours came from a hub, the hub's id decides if the row names one.
    """
    weights = str(model.row["weights"])
    if weights == "untrained":
        return False
    names = {plain(row.model), *map(plain, row.aliases)}
    ours = weights.removeprefix("pretrained:").partition("@")[0]
    hub_ids = {plain(alias) for alias in row.aliases if "/" in alias}
    if "/" in ours and hub_ids:
        return plain(ours) in hub_ids
    own = str(model.row["model"]).removesuffix("-finetuned")
    return plain(own) in names or plain(ours) in names


def _comparison(study: Study, row: PublishedRow) -> PublishedComparison:
    """A row beside the nearest of our models: the one with the fewest differences, of equals the first in the table.

    The nearest protocol, never the best score: that would be choosing by the result.
    """
    meant = [(model, differences(study, model, row.protocol)) for model in study.models if is_same_model(row, model)]
    if not meant:
        return PublishedComparison(row)
    model, found = min(meant, key=lambda pair: len(pair[1]))
    score = model.row
    return PublishedComparison(
        row=row,
        ours=model,
        mean_of_folds=model.details.get("mean_of_folds"),
        pooled=float(score["accuracy"]),
        interval=(float(score["accuracy_ci_low"]), float(score["accuracy_ci_high"])),
        differences=tuple(found),
        unsaid=tuple(unsaid(study, model, row.protocol)),
    )


def differences(study: Study, model: StudyModel, published: PublishedProtocol) -> list[str]:
    """What is known to differ between a published protocol and that of one of our models, in words."""
    ours = protocol_of(study, model)
    found = []
    for key, shown in (("training", "model"), ("head", "head"), ("pooling", "pooling"), ("layer", "layer")):
        theirs, own = getattr(published, key), getattr(ours, key)
        if theirs is not None and own is not None and _canonical(theirs) != _canonical(own):
            found.append(f"{shown}: {theirs} there, {own} here")
    if published.clips is not None and ours.clips is not None and published.clips != ours.clips:
        found.append(f"clips: {published.clips:,} there, {ours.clips:,} here")
    if published.folds is not None and published.folds != ours.folds:
        found.append(f"folds: {published.folds} there, {ours.folds} here")
    if published.shots != ours.shots:
        found.append(f"training clips: {_shots(published.shots)} there, {_shots(ours.shots)} here")
    if published.figure is not None and published.figure != ours.figure:
        found.append(f"figure: {published.figure} there, {ours.figure} here")
    if str(model.row["protocol"]).endswith("+refit"):
        found.append("here the chosen head was trained again on training and validation clips")
    return found


def unsaid(study: Study, model: StudyModel, published: PublishedProtocol) -> list[str]:
    """What a source leaves open and ours has an answer to."""
    ours = protocol_of(study, model)
    return [name for name in ("head", "pooling", "layer", "folds", "figure") if _is_open(name, published, ours)]


def _is_open(name: str, published: PublishedProtocol, ours: PublishedProtocol) -> bool:
    return getattr(published, name) is None and getattr(ours, name) is not None


def protocol_of(study: Study, model: StudyModel) -> PublishedProtocol:
    """How a figure of ours was come by, in the terms of published ones."""
    row = model.row
    protocol = str(row["protocol"]).removesuffix("+refit")
    base = base_protocol(study.manifest, protocol)
    table = study.inputs.tables.get(str(row["model"]))
    layer = None
    if row["head"] != "none" and table is not None and len(table.spec.layers) > 1:
        last = str(row["layer"]) == str(table.spec.layers[-1])
        layer = "all" if row["layer"] == "all" else "last" if last else "chosen"
    training = {"frozen": "frozen", "handcrafted": "frozen"}.get(str(row["family"]), str(row["family"]))
    return PublishedProtocol.model_validate(
        {
            "training": training,
            "head": _head(study, model),
            "pooling": None if row["pooling"] in ("none", "") else str(row["pooling"]),
            "layer": layer,
            "clips": len(study.manifest),
            "folds": "drawn" if base in DRAWN else "official",
            "shots": study.config.few_shot.shots if protocol == "few-shot" else None,
            "figure": "mean of folds" if int(row["n_folds"]) > 1 else "test accuracy",
        }
    )


def _head(study: Study, model: StudyModel) -> str | None:
    """The kind of a model's head, whatever the config labels it."""
    head = study.head_of(model)
    if isinstance(head, SklearnOptions):
        name = re.sub("(Classifier|Regressor)$", "", head.estimator.rpartition(".")[2])
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return None if head is None else head.name


def _canonical(value: str) -> str:
    return HEADS.get(value.casefold(), value.casefold())


def _shots(shots: int | None) -> str:
    return "all" if shots is None else f"{shots} per class"
