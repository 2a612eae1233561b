"""Export a linear head on a Wav2Vec2-like encoder as a sequence classification model of transformers.

`<Encoder>ForSequenceClassification` maps each frame linearly (`projector`), averages, and maps linearly again
(`classifier`), with no activation in between. So a linear head on mean-pooled frames can be represented exactly, with
its standardisation folded into `classifier`, but a head with a ReLU cannot. A layer other than the last is selected by
a one-hot softmax over `hidden_states` (`use_weighted_layer_sum`), which equal this program's layers except the last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from features.audio.decoding import read_waveform
from features.errors import UserError
from heads.batched.inference import count_layers
from heads.evaluation.decisions.calibrators import Temperature
from heads.training.checkpoint import SavedHead
from pipeline.exporting.audioheads_format import about_decisions
from pipeline.exporting.model_card import Card
from pipeline.exporting.verification import TestClips, compare
from pipeline.predicting.fitted import HeadEnsemble, NetworkEnsemble
from pipeline.predicting.listing import Evaluation
from pipeline.predicting.predictor import Predictor

FAMILY = "wav2vec2"
TOLERANCE = 1e-4
CHOSEN = 1e4  # logit whose softmax is exactly 1 if all others are 0
PROBLEMS = {
    "single-label": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
EXAMPLE = '''"""Classify audio files: python example.py FILE…"""

import sys
from pathlib import Path

import soundfile
import soxr
from transformers import pipeline

classify = pipeline("audio-classification", model=str(Path(__file__).parent))
for file in sys.argv[1:]:
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    samples = soxr.resample(samples.mean(axis=1), rate, RATE, "HQ")
    print(file, classify({"raw": samples, "sampling_rate": RATE}))
'''


def write_transformers(
    predictor: Predictor, target: Path, clips: TestClips, evaluation: Evaluation, *, licence: str | None
) -> str:
    """Write a folder that `pipeline("audio-classification")` loads, and compare its scores with the original.

    Args:
        predictor: The original model with one fit, in fp32.
        target: An empty folder.
        clips: Clips for the comparison.
        evaluation: Score for the model card.
        licence: Licence for the model card.

    Returns:
        One sentence about the comparison.

    Raises:
        UserError: The architecture cannot represent the model; the message gives the reason.
        RunError: The scores differ.
    """
    head = _representable(predictor)
    with_quiet_loading(lambda: _save(predictor, head, target))
    expected = predictor.predict(list(clips.paths))
    classify = with_quiet_loading(lambda: _pipeline(target))
    order = list(predictor.labels) or ["value"]

    def predict(path: Path) -> np.ndarray:
        samples = read_waveform(path, predictor.spec.sample_rate).samples
        scores = classify({"raw": samples, "sampling_rate": predictor.spec.sample_rate}, top_k=None)
        by_label = {score["label"]: score["score"] for score in scores}
        return np.array([by_label[label] for label in order])

    what = f"the transformers model of {predictor.model.title}"
    difference = compare(expected, predict, clips, TOLERANCE, what)
    check = f"Compared with the original on {clips.what}: the largest difference in a score is {difference:.1e}."
    _card(predictor, evaluation, licence, check).write(target)
    return check


def _representable(predictor: Predictor) -> SavedHead:
    """Return the head if the architecture can represent it.

    Raises:
        UserError: The architecture cannot represent the head.
    """
    refused = "--format transformers: "
    fitted = predictor.fitted
    if predictor.spec.family != FAMILY and not isinstance(fitted, NetworkEnsemble):
        raise UserError(
            f"{refused}only Wav2Vec2-like encoders have such a model in transformers, {predictor.spec.family} has none"
        )
    if isinstance(fitted, NetworkEnsemble):
        raise UserError(
            f"{refused}{predictor.model.title} ends in an mlp with a ReLU, and transformers' model for it has no "
            "activation between its two linear layers; use --format audioheads or onnx"
        )
    assert isinstance(fitted, HeadEnsemble)
    (head,) = fitted.heads
    if head.head not in ("linear", "mlp"):
        why = {
            "weighted-sum": "standardises layers before mixing, but transformers mixes raw layers",
            "attention": "weights frames by attention, but transformers averages them",
        }.get(head.head, "does not consist of linear layers")
        raise UserError(f"{refused}the head {head.head} {why}; use --format audioheads")
    if count_layers(head.state) > 1:
        raise UserError(
            f"{refused}the mlp has a ReLU, and transformers' model has no activation between its projector and its "
            "classifier, so only linear heads fit; use --format audioheads or onnx"
        )
    if head.calibrator is not None and not isinstance(head.calibrator, Temperature):
        raise UserError(
            f"{refused}the calibration {head.calibrator.method} is not linear in the outputs of its classifier; train "
            "with `calibrate: temperature` or none, or use --format audioheads or onnx"
        )
    if tuple(head.pooling) != ("mean",):
        raise UserError(
            f"{refused}the head sees {'+'.join(head.pooling)}, but transformers only supports mean pooling; "
            "train one with `pooling: [mean]`"
        )
    return head


def _save(predictor: Predictor, head: SavedHead, target: Path) -> None:
    """Save encoder and head as one model with `save_pretrained`."""
    import transformers

    from features.backbones.wav2vec2 import write_preprocessing
    from features.backbones.wav2vec2_architectures import MODEL_CLASSES

    encoder: Any = predictor.backbone.module
    config = type(encoder.config).from_dict(encoder.config.to_dict())
    labels = list(predictor.labels) or ["value"]
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    for key, value in about_decisions(predictor).items():
        setattr(config, key, value)
    config.problem_type = PROBLEMS[predictor.task]
    config.classifier_proj_size = config.hidden_size
    config.use_weighted_layer_sum = int(head.layer) != predictor.spec.layers[-1]
    name = MODEL_CLASSES[config.model_type].removesuffix("Model") + "ForSequenceClassification"
    model: Any = getattr(transformers, name)(config).eval()
    getattr(model, model.base_model_prefix).load_state_dict(encoder.state_dict())
    weight, bias = folded(head)
    with torch.no_grad():
        model.projector.weight.copy_(torch.eye(config.hidden_size))
        model.projector.bias.zero_()
        model.classifier.weight.copy_(torch.from_numpy(weight))
        model.classifier.bias.copy_(torch.from_numpy(bias))
        if config.use_weighted_layer_sum:
            model.layer_weights.zero_()
            model.layer_weights[predictor.spec.layers.index(int(head.layer))] = CHOSEN
    model.save_pretrained(target)
    write_preprocessing(target, predictor.spec, config)


def folded(head: SavedHead) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (C, D) and biases (C,) of a linear head for raw features.

    The standardisation, and the temperature if the head has one, are folded in.
    """
    mean, scale = head.state["mean"].astype(np.float64), head.state["scale"].astype(np.float64)
    weight = head.state["weight_0"].astype(np.float64) / scale[:, None]
    bias = head.state["bias_0"].astype(np.float64) - mean @ weight
    if head.task == "regression" and "target" in head.state:
        target_mean, target_scale = head.state["target"]
        weight, bias = weight * target_scale, bias * target_scale + target_mean
    if isinstance(head.calibrator, Temperature):
        weight, bias = weight / head.calibrator.value, bias / head.calibrator.value
    return np.ascontiguousarray(weight.T).astype(np.float32), bias.astype(np.float32)


def _pipeline(folder: Path) -> Any:
    from transformers import pipeline

    return pipeline("audio-classification", model=str(folder), device="cpu")


def with_quiet_loading(work: Any) -> Any:
    """Run `work` with notices and progress bars of transformers switched off."""
    from features.backbones.loading.pretrained import quiet_transformers

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        return work()


def _card(predictor: Predictor, evaluation: Evaluation, licence: str | None, check: str) -> Card:
    spec = predictor.spec
    return Card(
        predictor=predictor,
        evaluation=evaluation,
        licence=licence,
        install="pip install transformers torch torchaudio soundfile soxr",
        example=EXAMPLE.replace("RATE", str(spec.sample_rate)),
        files=["`AutoModelForAudioClassification.from_pretrained(THIS_FOLDER)` also loads it."],
        limits=[
            f"Clips longer than {spec.max_duration_s:g} s are processed whole here, but in windows by the original.",
            "Pass one clip at a time: transformers pads the clips of a batch, which changes the scores of the "
            "shorter ones.",
        ],
        check=check,
        library="transformers",
    )
