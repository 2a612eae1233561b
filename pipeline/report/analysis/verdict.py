"""The answer in three lines: the model to use, the cheapest one tied with it, and the best one of each kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real

from heads.evaluation.majority import ANSWERS
from heads.evaluation.statistics import ALPHA
from pipeline.report.analysis.caveats import unknown_groups
from pipeline.report.analysis.costs import cost_of
from pipeline.report.sentence import Name, Sentence
from pipeline.report.study import Study, StudyModel

TRAINED = ("finetuned", "scratch")


def verdict(study: Study) -> tuple[Sentence, Sentence, Sentence]:
    """Return the three lines of the answer. The first also says what is unknown about the independence of the clips."""
    lines = _nothing(study) if nothing_learned(study) else (_winner(study), _cheapest(study))
    caveat = unknown_groups(study)
    first = (*lines[0], " ", *caveat) if caveat else lines[0]
    return first, lines[1], _kinds(study)


def nothing_learned(study: Study) -> bool:
    """Return whether no model is significantly better than the majority row."""
    if study.baseline is None:
        return False
    compared = [model.details["majority"] for model in study.learned]
    return not any(one["gain"] > 0 and one["p_value"] <= ALPHA for one in compared)


def is_trained(model: StudyModel) -> bool:
    """Return whether a model was trained end to end."""
    return model.row["family"] in TRAINED


def is_pretrained(model: StudyModel) -> bool:
    """Return whether a model is a frozen network with pretrained weights."""
    return model.row["family"] == "frozen" and not model.is_control


def is_handcrafted(model: StudyModel) -> bool:
    """Return whether a model is a head on fixed features without weights."""
    return model.row["family"] == "handcrafted"


def scored(model: StudyModel) -> str:
    """Return text such as `0.968 (0.945–0.981)`, with the metric's name before it if it is not accuracy."""
    metric = model.row.get("metric")
    key = "value" if metric else "accuracy"
    low, high = model.row[f"{key}_ci_low"], model.row[f"{key}_ci_high"]
    return f"{f'{metric} ' if metric else ''}{model.row[key]:.3f} ({low:.3f}–{high:.3f})"


def _winner(study: Study) -> Sentence:
    best = study.models[0]
    return ("Use ", *_called(best), f": {scored(best)}.")


def _nothing(study: Study) -> tuple[Sentence, Sentence]:
    """Return the first two lines if no model is significantly better than the majority row."""
    baseline, best = study.baseline, study.learned[0]
    assert baseline is not None
    first: Sentence = (
        "Nothing learned anything: no model is significantly better than the majority row, which "
        f"{ANSWERS[study.manifest.task]}: {scored(baseline)}.",
    )
    return first, ("Highest of the models: ", *_called(best), f": {scored(best)}. It is not a model to use.")


def _cheapest(study: Study) -> Sentence:
    """Return the line on the cheapest model among the best and those tied with it, without untrained controls."""
    best = study.models[0]
    candidates = [model for model in study.learned if model is not best and not model.is_control]
    ties = [model for model in candidates if model.row["tied_with_best"]]
    if not ties:
        return ("Cheapest tied: none, no other model is tied with it.",)
    count = f"{len(ties)} model{'' if len(ties) == 1 else 's'}"
    usable = len(study.manifest) - len(study.failures)
    costs = [(cost_of(model, study.score, usable), model) for model in (best, *ties)]
    known = [(cost.total_s, cost.device, model) for cost, model in costs if cost.total_s is not None]
    if not known:
        return (f"Cheapest tied: unknown, no cost was recorded for the {count} tied with it.",)
    seconds, device, cheapest = min(known, key=lambda one: one[0])
    among = f"{len(ties)} other model{'' if len(ties) == 1 else 's'} {'is' if len(ties) == 1 else 'are'} tied with it"
    if cheapest is best:
        return ("Cheapest tied: ", *_called(best), f" itself, {_seconds(seconds)} in all; {among}.")
    own = next((one for one in known if one[2] is best), None)
    against = f" against {_seconds(own[0])}" if own else ""
    elsewhere = " on another device" if own and own[1] != device else ""
    line = f": {scored(cheapest)}, {_seconds(seconds)} in all{against}{elsewhere}"
    return ("Cheapest tied: ", *_called(cheapest), f"{line}." if len(ties) == 1 else f"{line}; {len(ties)} are tied.")


def _kinds(study: Study) -> Sentence:
    """Return the line on the best pretrained, trained and handcrafted model and the majority row, with their costs."""
    parts: list[Sentence] = []
    pretrained = _first(study.models, is_pretrained)
    if pretrained is None:
        parts.append(("Best pretrained: none was run",))
    else:
        parts.append(("Best pretrained: ", *_with_cost(study, pretrained), *_pretraining(study, pretrained)))
    for kind, wanted in (("trained", is_trained), ("handcrafted", is_handcrafted)):
        model = _first(study.models, wanted)
        if model is not None:
            parts.append((f"Best {kind}: ", *_with_cost(study, model)))
    if study.baseline is None:
        parts.append(("Baseline: unknown, run train-heads again for the majority row",))
    else:
        parts.append(("Baseline: ", Name(str(study.baseline.row["model"])), f" {scored(study.baseline)}"))
    return tuple(piece for at, part in enumerate(parts) for piece in ((" " if at else ""), *part, ".") if piece)


def _with_cost(study: Study, model: StudyModel) -> Sentence:
    cost = _cost(study, model)
    return (Name(model.title), f" {scored(model)}{f', {cost}' if cost else ''}")


def _pretraining(study: Study, lead: StudyModel) -> Sentence:
    """Compare a pretrained model with its untrained control, if that was run."""
    compared = lead.details.get("control")
    if compared is None:
        return ()
    same = ("head", "pooling")
    control = next(
        one
        for one in study.models
        if one.row["model"] == compared["model"] and all(one.row[key] == lead.row[key] for key in same)
    )
    gain, p_value = compared["gain"], compared["p_value"]
    significance = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    how = f"is {abs(gain):.3f} {'below' if gain > 0 else 'above'} it" if p_value <= ALPHA else "ties with it"
    return ("; its untrained control, ", Name(control.title), f", {how} ({significance})")


def _called(model: StudyModel) -> Sentence:
    """Return a model's name. An untrained control is marked."""
    return (Name(model.title), " (untrained)") if model.is_control else (Name(model.title),)


def _first(models: Sequence[StudyModel], wanted: Callable[[StudyModel], bool]) -> StudyModel | None:
    return next((model for model in models if wanted(model)), None)


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
