"""Compare published results with ours: match the models and describe the differences in protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from heads.kinds.sklearn.head import SklearnOptions
from heads.splits.feasibility import base_protocol
from pipeline.report.analysis.published_rows import PublishedProtocol, PublishedRow
from pipeline.report.study import Study, StudyModel

# Different names for the same kind of head.
HEADS = {"logistic": "linear", "logistic regression": "linear", "forest": "random forest"}
CORPORA = ("esc50", "fsdd", "gtzan", "urbansound8k", "speech_commands", "voxceleb1")
DRAWN = ("kfold", "holdout", "leave-one-group-out")


@dataclass(frozen=True)
class PublishedComparison:
    """A published result and ours.

    Attributes:
        row: The published result.
        ours: Our model with the nearest protocol; None if the model was not run.
        mean_of_folds: Our mean accuracy over folds.
        pooled: Our accuracy over the test clips of all folds, as in the results table.
        interval: The 95 % interval of `pooled`.
        differences: Differences between the two protocols, each in a few words.
        unstated: Parts of the protocol that the source does not state.
    """

    row: PublishedRow
    ours: StudyModel | None = None
    mean_of_folds: float | None = None
    pooled: float | None = None
    interval: tuple[float, float] | None = None
    differences: tuple[str, ...] = ()
    unstated: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The answer to "same protocol?" in words."""
        if self.ours is None:
            return "not run here"
        parts = [f"no: {'; '.join(self.differences)}" if self.differences else "no stated difference"]
        if self.unstated:
            parts.append(f"not stated by the source: {', '.join(self.unstated)}")
        return "; ".join(parts)


def compare_published(study: Study, rows: Sequence[PublishedRow]) -> list[PublishedComparison]:
    """Compare every published result on the study's dataset; those of models that were run come first."""
    corpus = corpus_of(study)
    own = [row for row in rows if plain(row.dataset) == corpus]
    found = [_comparison(study, row) for row in own]
    return sorted(found, key=lambda one: one.ours is None)


def corpus_of(study: Study) -> str:
    """Return the corpus of a study. The dataset reader decides, not the configured name; ESC-10 differs from ESC-50."""
    dataset = study.config.dataset
    kind = str(getattr(dataset, "kind", ""))
    if kind == "esc50":
        return plain(str(getattr(dataset, "subset", kind)))
    return plain(kind) if kind in CORPORA else plain(study.manifest.name)


def plain(name: str) -> str:
    """Return a name without case and punctuation, so that `ESC-50` equals `esc50`."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def is_same_model(row: PublishedRow, model: StudyModel) -> bool:
    """Return whether the names show that our model is the published one. Random weights never match.

    If our weights come from a hub and the row has a hub id, the hub id decides.
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
    """Compare a row with our model whose protocol has the fewest differences; the first in the table if tied.

    Choosing the model with the best score instead would be choosing by the result.
    """
    meant = [(model, differences(study, model, row.protocol)) for model in study.learned if is_same_model(row, model)]
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
        unstated=tuple(unstated(study, model, row.protocol)),
    )


def differences(study: Study, model: StudyModel, published: PublishedProtocol) -> list[str]:
    """Describe the known differences between a published protocol and that of one of our models."""
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
        found.append("here the chosen head was trained again on training and validation clips together")
    return found


def unstated(study: Study, model: StudyModel, published: PublishedProtocol) -> list[str]:
    """Return the parts of the protocol that the source does not state but that are known for our model."""
    ours = protocol_of(study, model)
    return [name for name in ("head", "pooling", "layer", "folds", "figure") if _is_open(name, published, ours)]


def _is_open(name: str, published: PublishedProtocol, ours: PublishedProtocol) -> bool:
    return getattr(published, name) is None and getattr(ours, name) is not None


def protocol_of(study: Study, model: StudyModel) -> PublishedProtocol:
    """Return the protocol of one of our models in the format of published protocols."""
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
    """Return the kind of a model's head, independent of its label in the config."""
    head = study.head_of(model)
    if isinstance(head, SklearnOptions):
        name = re.sub("(Classifier|Regressor)$", "", head.estimator.rpartition(".")[2])
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return None if head is None else head.name


def _canonical(value: str) -> str:
    return HEADS.get(value.casefold(), value.casefold())


def _shots(shots: int | None) -> str:
    return "all" if shots is None else f"{shots} per class"
