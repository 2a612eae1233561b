"""The three lines of the answer, for all outcomes of an experiment."""

import numpy as np
import pytest

from pipeline.report.analysis.verdict import nothing_learned, verdict
from pipeline.report.sentence import Name, text_of
from tests.pipeline.report.hostile import NAMES
from tests.pipeline.report.toy_studies import manifest_of, study_of

N = 60
FROZEN = {"family": "frozen", "weights": "pretrained:toy"}
CONTROL = {"family": "frozen", "weights": "untrained"}
HANDCRAFTED = {"family": "handcrafted", "weights": "none", "params_total": None}
SCRATCH = {"family": "scratch", "weights": "none", "train_seconds": 250.0, "params_trained": 123456}
TUNED = {"family": "finetuned", "weights": "pretrained:toy"}
INDEPENDENT = (
    "Every clip counted as independent, because no groups are known: if clips share a speaker or recording, the score "
    "is too high."
)


def study(folder, right, about, *, seed=0, grouped=True, labels=None, **keywords):
    """Models that classify given fractions of the clips correctly, each a different random subset."""
    rng = np.random.default_rng(seed)
    manifest = manifest_of(labels or [f"c{row % 2}" for row in range(N)])
    truth = np.array([int(label[1:]) for label in manifest.clips["label"]])
    probabilities = {}
    for title, share in right.items():
        wrong = rng.permutation(N)[round(share * N) :]
        predicted = truth.copy()
        predicted[wrong] = 1 - predicted[wrong]
        probabilities[title] = np.eye(2)[predicted][None] * 0.8 + 0.1
    if grouped:
        manifest.clips["group"] = [f"g{row // 2}" for row in range(N)]
    return study_of(manifest, probabilities, folder=folder, about=about, **keywords)


def answer(*arguments, **keywords):
    return tuple(map(text_of, verdict(study(*arguments, **keywords))))


def test_a_winner_the_cheapest_tied_with_it_and_the_best_of_each_kind_with_costs(tmp_path):
    use, cheapest, kinds = answer(
        tmp_path,
        {"yamnet · linear": 1.0, "yamnet · knn": 0.98, "cnn · x": 0.6, "m5 · x": 0.55, "mfcc · linear": 0.5},
        {"cnn · x": SCRATCH, "m5 · x": SCRATCH, "mfcc · linear": HANDCRAFTED, "yamnet · knn": {"train_seconds": 0.5}},
    )
    assert use.startswith("Use yamnet · linear: 1.000 (0.") and use.endswith("–1.000).")
    assert cheapest.startswith("Cheapest tied: yamnet · knn: 0.983 (") and cheapest.endswith(
        "1.7 s in all against 3.7 s."
    )
    assert kinds.startswith("Best pretrained: yamnet · linear 1.000 (")
    assert (
        "), 1.2 s of embedding and 2.5 s of training (1,000 trained parameters). Best trained: cnn · x 0.600" in kinds
    )
    assert "), 250 s of training (123,456 trained parameters). Best handcrafted: mfcc · linear 0.5" in kinds
    assert "m5" not in kinds


@pytest.mark.parametrize("about", [FROZEN, CONTROL, HANDCRAFTED, SCRATCH, TUNED])
def test_the_winner_comes_first_whatever_its_family(tmp_path, about):
    use, _, kinds = answer(tmp_path, {"yamnet · linear": 0.6, "winner · x": 1.0}, {"winner · x": about})
    name = "winner · x (untrained)" if about is CONTROL else "winner · x"
    assert use.startswith(f"Use {name}: 1.000 (")
    best = "winner · x 1.000" if about is FROZEN else "yamnet · linear 0.600"
    assert kinds.startswith(f"Best pretrained: {best}")


def test_without_a_tie_none_is_named(tmp_path):
    _, cheapest, _ = answer(tmp_path, {"a · linear": 1.0, "b · linear": 0.5, "c · linear": 0.5}, {})
    assert cheapest == "Cheapest tied: none, no other model is tied with it."


def test_the_winner_itself_may_be_the_cheapest(tmp_path):
    right = dict.fromkeys(("a · linear", "b · linear", "c · linear"), 0.9)
    about = {"b · linear": {"train_seconds": 9.0}, "c · linear": {"train_seconds": 9.0}}
    _, cheapest, _ = answer(tmp_path, right, about)
    assert cheapest == "Cheapest tied: a · linear itself, 3.7 s in all; 2 other models are tied with it."


def test_many_ties_are_counted(tmp_path):
    right = {f"m{number} · linear": 0.9 for number in range(6)} | {"bad · linear": 0.4}
    _, cheapest, _ = answer(tmp_path, right, {"m3 · linear": {"train_seconds": 0.1}})
    assert cheapest.startswith("Cheapest tied: m3 · linear: 0.900 (")
    assert cheapest.endswith("), 1.3 s in all against 3.7 s; 5 are tied.")


def test_an_untrained_control_is_not_offered_as_the_cheapest(tmp_path):
    right = dict.fromkeys(("a · linear", "random · linear"), 0.9)
    _, cheapest, _ = answer(tmp_path, right, {"random · linear": CONTROL | {"train_seconds": 0.1}})
    assert "random" not in cheapest and cheapest.startswith("Cheapest tied: none, ")


def test_costs_on_different_devices_are_marked(tmp_path):
    right = dict.fromkeys(("a · linear", "b · linear"), 0.9)
    about = {"a · linear": {"train_device": "cuda"}, "b · linear": {"train_device": "cpu", "train_seconds": 0.1}}
    _, cheapest, _ = answer(tmp_path, right, about)
    assert cheapest.endswith("1.3 s in all against 3.7 s on another device.")


def test_costs_that_were_not_recorded_are_left_out(tmp_path):
    unknown = {"extract_clips_per_s": None, "train_seconds": None}
    _, cheapest, kinds = answer(
        tmp_path, {"a · linear": 0.9, "b · linear": 0.9}, {"a · linear": unknown, "b · linear": unknown}
    )
    assert cheapest == "Cheapest tied: unknown, no cost was recorded for the 1 model tied with it."
    assert kinds.startswith("Best pretrained: a · linear 0.900 (") and ", 1" not in kinds


def test_what_was_not_run_is_said(tmp_path):
    _, _, kinds = answer(tmp_path, {"mfcc · linear": 0.9}, {"mfcc · linear": HANDCRAFTED})
    assert kinds.startswith("Best pretrained: none was run. Best handcrafted: mfcc · linear 0.900")
    assert kinds.endswith(" Baseline: unknown, run train-heads again for the majority row.")


def test_the_majority_row_is_the_baseline(tmp_path):
    found = study(tmp_path, {"a · linear": 0.9}, {}, majority=True)
    lines = tuple(map(text_of, verdict(found)))
    assert lines[0].startswith("Use a · linear: 0.900 (") and not nothing_learned(found)
    assert lines[2].endswith(").") and " Baseline: majority 0.5" in lines[2]
    assert [model.title for model in found.learned] == ["a · linear"]


@pytest.mark.parametrize("share", [0.81, 0.85, 0.3])
def test_nothing_learned_is_said_in_those_words(tmp_path, share):
    labels = ["c0"] * 50 + ["c1"] * 10  # the largest class has 0.833 of the clips
    found = study(tmp_path, {"cough · linear": share, "cough · mlp": share}, {}, labels=labels, majority=True)
    use, second, kinds = map(text_of, verdict(found))
    assert nothing_learned(found)
    assert use.startswith(
        "Nothing learned anything: no model is significantly better than the majority row, which always answers the "
        "most frequent training label: 0.833 ("
    )
    assert second.startswith("Highest of the models: cough · ") and second.endswith(" It is not a model to use.")
    assert "Use " not in use + second and " Baseline: majority 0.833" in kinds


def test_one_model_above_the_majority_is_enough(tmp_path):
    labels = ["c0"] * 36 + ["c1"] * 24
    found = study(tmp_path, {"a · linear": 1.0, "b · linear": 0.6}, {}, labels=labels, majority=True)
    assert not nothing_learned(found) and text_of(verdict(found)[0]).startswith("Use a · linear: 1.000")


@pytest.mark.parametrize(("task", "metric"), [("multi-label", "mAP"), ("regression", "CCC")])
@pytest.mark.parametrize("majority", [False, True])
def test_other_tasks_name_their_metric(tmp_path, task, metric, majority):
    rng = np.random.default_rng(0)
    if task == "multi-label":
        labels = [("a",) if row % 2 else ("a", "b") if row % 3 else ("b",) for row in range(40)]
        shape = (1, 40, 2)
    else:
        labels, shape = rng.normal(size=40).tolist(), (1, 40, 1)
    made = {"a · linear": rng.uniform(size=shape), "b · linear": rng.uniform(size=shape)}
    found = study_of(manifest_of(labels, task), made, folder=tmp_path, majority=majority)
    lines = " ".join(map(text_of, verdict(found)))
    assert f": {metric} " in lines and "accuracy" not in lines and "nan" not in lines
    assert lines.startswith("Nothing learned anything" if majority else "Use ")


def test_unknown_groups_are_said_beside_the_answer(tmp_path):
    use, *_ = answer(tmp_path, {"a · linear": 0.9}, {}, grouped=False)
    assert use.startswith("Use a · linear: 0.900 (") and use.endswith(f"). {INDEPENDENT}")
    use, *_ = answer(tmp_path, {"a · linear": 0.9}, {})
    assert "independent" not in use


@pytest.mark.parametrize("name", [name for name in NAMES if " · " not in name])
def test_names_of_models_are_kept_apart_from_the_sentence(tmp_path, name):
    lines = verdict(study(tmp_path, {f"{name} · linear": 1.0, "b · linear": 0.4}, {}))
    assert Name(f"{name} · linear") in lines[0] and Name(f"{name} · linear") in lines[2]
    assert not any(name in piece for line in lines for piece in line if isinstance(piece, str))


TWINS = {"nano": "nano", "random": "nano", "other": "other"}


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (0.4, "; its untrained control, random · linear, is 0.500 below it (p < 0.001)."),
        (0.85, "; its untrained control, random · linear, ties with it (p = "),
    ],
)
def test_pretraining_is_compared_with_the_untrained_control_of_the_same_head(tmp_path, share, sentence):
    right = {"nano · linear": 0.9, "other · linear": 0.2, "random · knn": 0.3, "random · linear": share}
    about = {"other · linear": CONTROL, "random · linear": CONTROL, "random · knn": CONTROL}
    found = study(tmp_path, right, about, backbone_of=TWINS)
    assert sentence in text_of(verdict(found)[2])
    control = next(model for model in found.models if model.title == "nano · linear").details["control"]
    assert control["model"] == "random" and control["gain"] == pytest.approx(0.9 - share)


def test_without_a_control_none_is_mentioned(tmp_path):
    *_, kinds = answer(
        tmp_path, {"nano · linear": 0.9, "other · linear": 0.2}, {"other · linear": CONTROL}, backbone_of=TWINS
    )
    assert "untrained control" not in kinds
