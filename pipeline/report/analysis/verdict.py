"""The answer in one sentence: the best frozen backbone, the models tied with it, and the best trained model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real

from heads.evaluation.statistics import ALPHA
from pipeline.report.study import Study, StudyModel

TRAINED = ("finetuned", "scratch")
NAMED = 3  # a larger number of tied models is counted instead of named


@dataclass(frozen=True)
class Name:
    """A model's name in a sentence. It comes from the user and is kept apart from the text of the program."""

    text: str


Sentence = tuple[str | Name, ...]


def verdict(study: Study) -> Sentence:
    """Return the answer: the best frozen backbone (else the best model), the best trained model, and their costs."""
    best = study.models[0]
    lead = _first(study.models, is_pretrained) or _first(study.models, lambda model: not is_trained(model)) or best
    rival = _first(study.models, is_trained) if not is_trained(lead) else None
    pieces = [*_opening(study, lead), *_rank(study, lead, best, rival)]
    if rival is not None and rival is not best:
        pieces += [" and " if len(study.models) > 2 else ", ", *_against(lead, rival, best)]
    costs = [cost for cost in (_cost(study, lead), _cost(study, rival) if rival else "") if cost]
    if costs:
        pieces.append("; it took " + (" against ".join(costs)))
    return (*pieces, ".", *_pretraining(study, lead))


def text_of(sentence: Iterable[str | Name]) -> str:
    """Return a sentence as plain text."""
    return "".join(piece.text if isinstance(piece, Name) else piece for piece in sentence)


def is_trained(model: StudyModel) -> bool:
    """Return whether a model was trained end to end."""
    return model.row["family"] in TRAINED


def is_pretrained(model: StudyModel) -> bool:
    """Return whether a model is a frozen network with pretrained weights."""
    return model.row["family"] == "frozen" and not model.is_control


def score_of(model: StudyModel) -> float:
    """Return the ranking score of a model: its metric if it has one, otherwise accuracy."""
    return float(model.row["value" if model.row.get("metric") else "accuracy"])


def _first(models: Sequence[StudyModel], wanted: Callable[[StudyModel], bool]) -> StudyModel | None:
    return next((model for model in models if wanted(model)), None)


def _scored(model: StudyModel, *, named: bool = False) -> str:
    """Return text such as `0.968 (95 % interval 0.945–0.981)`."""
    key = "value" if model.row.get("metric") else "accuracy"
    low, high = model.row[f"{key}_ci_low"], model.row[f"{key}_ci_high"]
    what = "95 % interval " if named else ""
    return f"{model.row[key]:.3f} ({what}{low:.3f}–{high:.3f})"


def _opening(study: Study, lead: StudyModel) -> list[str | Name]:
    which = "only" if len(study.models) == 1 else "best"
    what: list[str | Name]
    if is_pretrained(lead):
        what = [f"The {which} frozen backbone is ", Name(lead.title)]
    elif is_trained(lead):
        what = [f"No frozen backbone was run; the {which} trained model is ", *_called(lead)]
    else:
        what = [f"No pretrained backbone was run; the {which} model on fixed features is ", *_called(lead)]
    return [*what, f" with {lead.row.get('metric') or 'accuracy'} {_scored(lead, named=True)}"]


def _rank(study: Study, lead: StudyModel, best: StudyModel, rival: StudyModel | None) -> list[str | Name]:
    """Describe the rank of the leading model: the models tied with it, or the better model. Leaves out the rival."""
    if lead is not best:
        how = "which it ties with" if lead.row["tied_with_best"] else "which is better"
        return [", behind ", *_called(best), f" with {_scored(best)}, {how}"]
    others = [model for model in study.models if model is not lead and model is not rival]
    ties = [model for model in others if model.row["tied_with_best"]]
    if not ties:
        tied = rival is not None and rival.row["tied_with_best"]
        return [", ahead of all others"] if others and not tied else []
    if len(ties) == len(others) > 1 and rival is None:
        return [f", tied with all {len(ties)} other models"]
    if len(ties) > NAMED:
        return [f", tied with {len(ties)} others, the nearest ", Name(ties[0].title)]
    listed: list[str | Name] = [", tied with "]
    for at, model in enumerate(ties):
        listed += [" and " if at and at == len(ties) - 1 else ", " if at else "", Name(model.title)]
    return listed


def _pretraining(study: Study, lead: StudyModel) -> list[str | Name]:
    """Compare the leading model with its untrained control, if that was run."""
    compared = lead.details.get("control")
    if compared is None:
        return []
    same = ("head", "pooling")
    control = next(
        one
        for one in study.models
        if one.row["model"] == compared["model"] and all(one.row[key] == lead.row[key] for key in same)
    )
    gain, p_value = compared["gain"], compared["p_value"]
    significance = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    how = f"is {abs(gain):.3f} {'below' if gain > 0 else 'above'} it" if p_value <= ALPHA else "ties with it"
    return [" Its untrained control, ", Name(control.title), f", {how} ({significance})."]


def _called(model: StudyModel) -> list[str | Name]:
    """Return a model's name, preceded by its kind unless it is a pretrained frozen backbone."""
    kinds = {"handcrafted": "handcrafted ", "finetuned": "fine-tuned ", "scratch": "trained-from-scratch "}
    kind = "untrained " if model.is_control else kinds.get(str(model.row["family"]), "")
    return [kind, Name(model.title)] if kind else [Name(model.title)]


def _against(lead: StudyModel, rival: StudyModel, best: StudyModel) -> list[str | Name]:
    """Compare the leading model with the best trained model. Ties were only tested against the best model overall."""
    difference = score_of(lead) - score_of(rival)
    if lead is best and not rival.row["tied_with_best"]:
        how = f"{difference:.3f} above "
    elif lead is best:
        how = "tied with "
    else:
        how = f"{abs(difference):.3f} {'above' if difference >= 0 else 'below'} "
    return [how, "the best trained model, ", *_called(rival), f" with {_scored(rival)}"]


def _cost(study: Study, model: StudyModel) -> str:
    """Return text such as `8.0 s of embedding and 1.6 s of training (20 trained parameters)`; "" if not recorded."""
    parts = []
    rate, seconds = model.row["extract_clips_per_s"], model.row["train_seconds"]
    if _is_number(rate) and not is_trained(model):
        parts.append(f"{_seconds((len(study.manifest) - len(study.failures)) / rate)} of embedding")
    if _is_number(seconds):
        parts.append(f"{_seconds(seconds)} of training")
    trained = model.row["params_trained"]
    count = f" ({int(trained):,} trained parameters)" if _is_number(trained) and trained else ""
    return " and ".join(parts) + count if parts else ""


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(float(value)) and float(value) >= 0
