"""The answer in one sentence: the best frozen backbone, what it ties with, and how it stands to a trained model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real

from heads.evaluation.statistics import ALPHA
from pipeline.report.study import Study, StudyModel

TRAINED = ("finetuned", "scratch")
NAMED = 3  # models of a tie that are named; more are counted


@dataclass(frozen=True)
class Name:
    """A model's name in a sentence: text that someone else chose."""

    text: str


Sentence = tuple[str | Name, ...]


def verdict(study: Study) -> Sentence:
    """The answer: the best frozen backbone (else what there is) against the best trained model, with their costs."""
    best = study.models[0]
    lead = _first(study.models, is_pretrained) or _first(study.models, lambda model: not is_trained(model)) or best
    rival = _first(study.models, is_trained) if not is_trained(lead) else None
    pieces = [*_opening(study, lead), *_standing(study, lead, best, rival)]
    if rival is not None and rival is not best:
        pieces += [" and " if len(study.models) > 2 else ", ", *_against(lead, rival, best)]
    costs = [cost for cost in (_cost(study, lead), _cost(study, rival) if rival else "") if cost]
    if costs:
        pieces.append("; it took " + (" against ".join(costs)))
    return (*pieces, ".", *_pretraining(study, lead))


def text_of(sentence: Iterable[str | Name]) -> str:
    """A sentence as plain text."""
    return "".join(piece.text if isinstance(piece, Name) else piece for piece in sentence)


def is_trained(model: StudyModel) -> bool:
    """Whether it was trained end to end."""
    return model.row["family"] in TRAINED


def is_pretrained(model: StudyModel) -> bool:
    """Whether it is a frozen network with pretrained weights."""
    return model.row["family"] == "frozen" and not model.is_control


def score_of(model: StudyModel) -> float:
    """What models are ranked by: the metric where there is one, else accuracy."""
    return float(model.row["value" if model.row.get("metric") else "accuracy"])


def _first(models: Sequence[StudyModel], wanted: Callable[[StudyModel], bool]) -> StudyModel | None:
    return next((model for model in models if wanted(model)), None)


def _scored(model: StudyModel, *, named: bool = False) -> str:
    """`0.968 (95 % interval 0.945–0.981)`."""
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


def _standing(study: Study, lead: StudyModel, best: StudyModel, rival: StudyModel | None) -> list[str | Name]:
    """How the leading model stands among all: what it ties with, or what is better. The rival comes later."""
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
    """What pretraining adds: the leading model beside its untrained control, where that was run."""
    beside = lead.details.get("control")
    if beside is None:
        return []
    same = ("head", "pooling")
    control = next(
        one
        for one in study.models
        if one.row["model"] == beside["model"] and all(one.row[key] == lead.row[key] for key in same)
    )
    gain, p_value = beside["gain"], beside["p_value"]
    sure = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    how = f"is {abs(gain):.3f} {'below' if gain > 0 else 'above'} it" if p_value <= ALPHA else "ties with it"
    return [" Its untrained control, ", Name(control.title), f", {how} ({sure})."]


def _called(model: StudyModel) -> list[str | Name]:
    """A model's name after its kind, where that is not plain."""
    kinds = {"handcrafted": "handcrafted ", "finetuned": "fine-tuned ", "scratch": "trained-from-scratch "}
    kind = "untrained " if model.is_control else kinds.get(str(model.row["family"]), "")
    return [kind, Name(model.title)] if kind else [Name(model.title)]


def _against(lead: StudyModel, rival: StudyModel, best: StudyModel) -> list[str | Name]:
    """The best trained model beside the leading one; only those compared with the best overall are called equal."""
    difference = score_of(lead) - score_of(rival)
    if lead is best and not rival.row["tied_with_best"]:
        how = f"{difference:.3f} above "
    elif lead is best:
        how = "tied with "
    else:
        how = f"{abs(difference):.3f} {'above' if difference >= 0 else 'below'} "
    return [how, "the best trained model, ", *_called(rival), f" with {_scored(rival)}"]


def _cost(study: Study, model: StudyModel) -> str:
    """`8.0 s of embedding and 1.6 s of training (20,490 parameters)`; "" where nothing was recorded."""
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
