"""The answer in one sentence, for all outcomes of an experiment."""

import numpy as np
import pytest

from pipeline.report.analysis.verdict import Name, text_of, verdict
from tests.pipeline.report.hostile import NAMES
from tests.pipeline.report.toy_studies import manifest_of, study_of

N = 60
FROZEN = {"family": "frozen", "weights": "pretrained:toy"}
CONTROL = {"family": "frozen", "weights": "untrained"}
HANDCRAFTED = {"family": "handcrafted", "weights": "none", "params_total": None}
SCRATCH = {"family": "scratch", "weights": "none", "train_seconds": 250.0, "params_trained": 123456}
TUNED = {"family": "finetuned", "weights": "pretrained:toy"}


def study(folder, right, about, *, seed=0, backbone_of=None):
    """Models that classify given fractions of the clips correctly, each a different random subset."""
    rng = np.random.default_rng(seed)
    truth = np.arange(N) % 2
    probabilities = {}
    for title, share in right.items():
        wrong = rng.permutation(N)[round(share * N) :]
        predicted = truth.copy()
        predicted[wrong] = 1 - predicted[wrong]
        probabilities[title] = np.eye(2)[predicted][None] * 0.8 + 0.1
    manifest = manifest_of([f"c{row % 2}" for row in range(N)])
    return study_of(manifest, probabilities, folder=folder, about=about, backbone_of=backbone_of)


def answer(*arguments, **keywords):
    return text_of(verdict(study(*arguments, **keywords)))


def test_a_frozen_winner_its_tie_and_the_best_trained_model_with_their_costs(tmp_path):
    text = answer(
        tmp_path,
        {"yamnet · linear": 1.0, "yamnet · knn": 0.98, "cnn · x": 0.6, "m5 · x": 0.55, "mfcc · linear": 0.5},
        {"cnn · x": SCRATCH, "m5 · x": SCRATCH, "mfcc · linear": HANDCRAFTED},
    )
    assert text.startswith("The best frozen backbone is yamnet · linear with accuracy 1.000 (95 % interval 0.")
    assert ", tied with yamnet · knn and 0.400 above the best trained model, trained-from-scratch cnn · x" in text
    assert "; it took 1.2 s of embedding and 2.5 s of training (1,000 trained parameters) against 250 s" in text
    assert text.count("cnn · x") == 1 and "m5" not in text and text.endswith(").")


def test_a_trained_winner_is_named_as_better(tmp_path):
    text = answer(tmp_path, {"yamnet · linear": 0.6, "resnet · x": 1.0}, {"resnet · x": TUNED})
    assert text.startswith("The best frozen backbone is yamnet · linear with accuracy 0.600")
    assert ", behind fine-tuned resnet · x with 1.000" in text and "which is better" in text
    assert text.count("resnet · x") == 1


def test_a_handcrafted_winner_is_named(tmp_path):
    text = answer(tmp_path, {"yamnet · linear": 0.6, "mfcc · linear": 1.0}, {"mfcc · linear": HANDCRAFTED})
    assert ", behind handcrafted mfcc · linear with 1.000" in text


def test_a_tied_model_is_not_called_better(tmp_path):
    text = answer(tmp_path, {"yamnet · linear": 0.9, "cnn · x": 0.9}, {"cnn · x": SCRATCH})
    assert "tied with the best trained model, trained-from-scratch cnn · x" in text or "which it ties with" in text
    assert "above" not in text and "ahead" not in text and "better" not in text


def test_a_clear_winner_is_ahead_of_all(tmp_path):
    text = answer(tmp_path, {"a · linear": 1.0, "b · linear": 0.5, "c · linear": 0.5}, {})
    assert "interval 0.937–1.000), ahead of all others; it took" in text or ", ahead of all others; it took" in text


def test_all_tied(tmp_path):
    text = answer(tmp_path, dict.fromkeys(("a · linear", "b · linear", "c · linear"), 0.9), {})
    assert ", tied with all 2 other models; it took" in text


def test_many_ties_are_counted_and_not_listed(tmp_path):
    right = {f"m{number} · linear": 0.9 for number in range(6)} | {"bad · linear": 0.4}
    text = answer(tmp_path, right, {})
    assert ", tied with 5 others, the nearest m" in text


def test_untrained_and_handcrafted_models_alone_are_named_as_such(tmp_path):
    text = answer(
        tmp_path, {"mfcc · linear": 0.9, "w2v · linear": 0.5}, {"mfcc · linear": HANDCRAFTED, "w2v · linear": CONTROL}
    )
    assert text.startswith(
        "No pretrained backbone was run; the best model on fixed features is handcrafted mfcc · linear"
    )
    text = answer(tmp_path, {"w2v · linear": 0.5}, {"w2v · linear": CONTROL})
    assert text.startswith("No pretrained backbone was run; the only model on fixed features is untrained w2v · linear")


def test_an_untrained_control_is_never_the_best_frozen_backbone(tmp_path):
    text = answer(tmp_path, {"w2v · linear": 1.0, "yamnet · linear": 0.5}, {"w2v · linear": CONTROL})
    assert text.startswith("The best frozen backbone is yamnet · linear")
    assert ", behind untrained w2v · linear with 1.000" in text


def test_trained_models_alone(tmp_path):
    text = answer(tmp_path, {"cnn · x": 0.9}, {"cnn · x": SCRATCH})
    assert text.startswith("No frozen backbone was run; the only trained model is trained-from-scratch cnn · x with")
    assert text.endswith("; it took 250 s of training (123,456 trained parameters).")


def test_costs_that_were_not_recorded_are_left_out(tmp_path):
    about = {"extract_clips_per_s": None, "train_seconds": None}
    text = answer(tmp_path, {"a · linear": 0.9}, {"a · linear": about})
    assert text.endswith(").") and "it took" not in text


@pytest.mark.parametrize(("task", "metric"), [("multi-label", "mAP"), ("regression", "CCC")])
def test_other_tasks_name_their_metric(tmp_path, task, metric):
    rng = np.random.default_rng(0)
    if task == "multi-label":
        labels = [("a",) if row % 2 else ("a", "b") if row % 3 else ("b",) for row in range(40)]
        shape = (1, 40, 2)
    else:
        labels, shape = rng.normal(size=40).tolist(), (1, 40, 1)
    made = {"a · linear": rng.uniform(size=shape), "b · linear": rng.uniform(size=shape)}
    text = text_of(verdict(study_of(manifest_of(labels, task), made, folder=tmp_path)))
    assert f" with {metric} " in text and "accuracy" not in text and "nan" not in text


@pytest.mark.parametrize("name", [name for name in NAMES if " · " not in name])
def test_names_of_models_are_kept_apart_from_the_sentence(tmp_path, name):
    sentence = verdict(study(tmp_path, {f"{name} · linear": 1.0, "b · linear": 0.4}, {}))
    assert Name(f"{name} · linear") in sentence
    assert not any(name in piece for piece in sentence if isinstance(piece, str))


TWINS = {"nano": "nano", "random": "nano", "other": "other"}


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (0.4, " Its untrained control, random · linear, is 0.500 below it (p < 0.001)."),
        (0.85, " Its untrained control, random · linear, ties with it (p = "),
    ],
)
def test_pretraining_is_compared_with_the_untrained_control_of_the_same_head(tmp_path, share, sentence):
    right = {"nano · linear": 0.9, "other · linear": 0.2, "random · knn": 0.3, "random · linear": share}
    about = {"other · linear": CONTROL, "random · linear": CONTROL, "random · knn": CONTROL}
    found = study(tmp_path, right, about, backbone_of=TWINS)
    assert sentence in text_of(verdict(found))
    control = next(model for model in found.models if model.title == "nano · linear").details["control"]
    assert control["model"] == "random" and control["gain"] == pytest.approx(0.9 - share)


def test_without_a_control_none_is_mentioned(tmp_path):
    text = answer(
        tmp_path, {"nano · linear": 0.9, "other · linear": 0.2}, {"other · linear": CONTROL}, backbone_of=TWINS
    )
    assert "untrained control" not in text
