"""Write the model card of an exported model, for people and model hubs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from features.backbones import record_of_weights
from features.backbones.presets.corpora import find_corpus
from features.backbones.presets.exposure import exposure
from features.backbones.presets.record import Preset
from features.spec import BackboneSpec
from pipeline.exporting.measured_decisions import measured_decisions
from pipeline.predicting.listing import Evaluation, fits_text, weights_of
from pipeline.predicting.locate import FoundModel
from pipeline.predicting.predictor import Predictor
from pipeline.results.table import INDEPENDENT

HUB_WEIGHTS = re.compile(r"pretrained:(?:hub:)?([\w.-]+/[\w.-]+)(/[^@]*)?(@.*)?")
NOT_ON_HUBS = ("audeering-research",)  # licences that model hubs have no identifier for
TASKS = {
    "single-label": "one class per clip",
    "multi-label": "any number of classes per clip",
    "regression": "a number per clip",
}


@dataclass(frozen=True)
class Card:
    """The content of a model card.

    Attributes:
        predictor: The exported model.
        evaluation: Score of the model.
        licence: Licence of the export given by the user; None: that of the weights, if known.
        install: Command that installs the requirements of the example.
        example: Code of the example.
        files: Lines about the files in the folder.
        limits: Sentences about limits, in addition to those of all models.
        check: One sentence about the comparison with the original.
        library: Library name for hubs: `audioheads`, `onnx` or `transformers`.
        takes: Arguments of the example.
    """

    predictor: Predictor
    evaluation: Evaluation
    licence: str | None
    install: str
    example: str
    files: Sequence[str]
    limits: Sequence[str]
    check: str
    library: str
    takes: str = "some.wav"

    def write(self, folder: Path) -> None:
        """Write `README.md` and `example.py`."""
        (folder / "README.md").write_text(self.text(), encoding="utf-8")
        (folder / "example.py").write_text(self.example, encoding="utf-8")

    @property
    def model(self) -> FoundModel:
        """The exported model and its fits."""
        return self.predictor.model

    @property
    def spec(self) -> BackboneSpec:
        """Spec of the backbone or input."""
        return self.predictor.spec

    def text(self) -> str:
        """Return the card: YAML front matter, then Markdown."""
        front = yaml.safe_dump(self.front_matter(), sort_keys=False, allow_unicode=True)
        title = self.model.title
        about = self.model.about
        answers = ", ".join(self.predictor.labels) if self.predictor.labels else "a number"
        blocks = [
            f"---\n{front}---",
            f"# {title} on {about.get('dataset', 'unknown data')}",
            f"Audio classification, {TASKS[self.predictor.task]}: {answers}.",
            "## Use",
            f"```sh\n{self.install}\npython example.py {self.takes}\n```",
            f"```python\n{self.example.rstrip()}\n```",
            "\n".join(self.files),
            self.check,
            "## Evaluation",
            self._score(),
            *self._decisions(),
            "## Training",
            self._training(),
            "## Audio preprocessing",
            self._audio(),
            "## Limits",
            "\n".join(f"- {limit}" for limit in [*self._limits(), *self.limits]),
            "## Licence",
            self._licence(),
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def front_matter(self) -> dict[str, Any]:
        """Return the YAML metadata that hubs index."""
        about, evaluation = self.model.about, self.evaluation
        licence = self.licence or self.weights_licence
        front: dict[str, Any] = {"license": licence or "other"}
        if licence is None or licence in NOT_ON_HUBS:
            front = {"license": "other", "license_name": licence or "unknown"}
        front |= {
            "library_name": self.library,
            "pipeline_tag": "audio-classification",
            "tags": ["audio", "audio-classification", "audioheads", self.spec.family],
        }
        if source := HUB_WEIGHTS.fullmatch(str(about.get("weights", ""))):
            front["base_model"] = source.group(1)
        dataset = about.get("dataset")
        if dataset:
            front["datasets"] = [dataset]
        if evaluation.value is None or not dataset:
            return front
        front["metrics"] = [evaluation.metric]
        metric = {"type": evaluation.metric, "value": round(evaluation.value, 4)}
        if evaluation.low is not None and evaluation.high is not None:
            metric["name"] = f"{evaluation.metric} (95 % interval {evaluation.low:.3f}–{evaluation.high:.3f})"
        result = {
            "task": {"type": "audio-classification", "name": "Audio Classification"},
            "dataset": {"type": dataset, "name": dataset},
            "metrics": [metric],
        }
        return front | {"model-index": [{"name": self.model.title, "results": [result]}]}

    @property
    def weights_licence(self) -> str | None:
        """Licence of the pretrained weights or of the handcrafted features; None if unknown or if there are none."""
        return None if self.record is None else self.record.licence

    @property
    def record(self) -> Preset | None:
        """What is known about the pretrained weights or the handcrafted features; None if nothing is."""
        kind, _, source = str(self.model.about.get("weights", "")).partition(":")
        if kind == "none":
            return record_of_weights(self.spec.name, kind)
        return record_of_weights(self.spec.name, source) if kind == "pretrained" else None

    def _score(self) -> str:
        evaluation, about = self.evaluation, self.model.about
        if evaluation.value is None:
            return "Unknown: the model was exported without its run."
        interval = ""
        if evaluation.low is not None and evaluation.high is not None:
            clusters = f" (clustered by group, {evaluation.n_groups} groups)" if evaluation.n_groups else ""
            interval = f", 95 % interval {evaluation.low:.3f} to {evaluation.high:.3f}{clusters}"
        text = (
            f"{evaluation.metric} **{evaluation.value:.3f}**{interval}, on {evaluation.n_test} test clips of "
            f"{about.get('dataset')}, protocol `{about.get('protocol')}`: each clip was scored by a fit that was not "
            f"trained on it ({about.get('n_folds')} folds, {about.get('n_seeds')} seeds)."
        )
        if evaluation.n_groups == 0:
            text += f" **{INDEPENDENT}**"
        if len(self.model.fits) > 1:
            text += f" This export averages {len(self.model.fits)} of these fits; the average was not measured."
        return text

    def _decisions(self) -> list[str]:
        """Return blocks about calibration, thresholds and what they gave on test clips; none for numbers."""
        fitted, task = self.predictor.fitted, self.predictor.task
        if task == "regression":
            return []
        lines = ["The probabilities are not calibrated."]
        if fitted.calibration != "none":
            lines = [f"The probabilities are calibrated ({fitted.calibration}, fitted on validation clips)."]
        if fitted.point is not None:
            averaged = " Those of several fits are averaged." if len(self.model.fits) > 1 else ""
            lines.append(
                f"Thresholds for `{fitted.point.rule}`, chosen on validation clips, are in `config.json`.{averaged}"
            )
            if fitted.point.rule.below is not None:
                lines.append(f"A clip below the threshold of its class is `{fitted.point.rule.below}`.")
        elif task == "multi-label":
            lines.append("A clip has the classes with a probability of at least 0.5.")
        measured = measured_decisions(self.model)
        if not measured and (fitted.calibration != "none" or fitted.point is not None):
            lines.append("What they gave on test clips is not known here: the model has no current report.")
        return ["## Decisions", " ".join(lines), measured.table(), measured.background()]

    def _training(self) -> str:
        about = self.model.about
        lines = [
            f"- data: {about.get('dataset', 'unknown')}",
            f"- protocol: {about.get('protocol', 'unknown')}",
            f"- head: {about.get('head', self.model.fits[0].about.get('head', 'none'))}",
            f"- backbone or input: {self.spec.name} ({self.spec.family}), weights {weights_of(self.model)}"
            + (f", sha256 {about['weights_sha256']}" if about.get("weights_sha256") else ""),
            *self._seen_by_the_weights(),
            f"- pooling {about.get('pooling', 'unknown')}, layer {about.get('layer', 'unknown')}",
            f"- exported: {fits_text(self.model)}",
        ]
        return "\n".join(lines)

    def _seen_by_the_weights(self) -> list[str]:
        """Return what the pretrained weights were trained on, and what this means for the evaluation."""
        if self.record is None:
            return []
        parts = {"pretrained": self.record.pretrained_on, "fine-tuned": self.record.finetuned_on}
        lines = [
            f"- weights {how} on: {'unknown' if corpora is None else ', '.join(corpora)}"
            for how, corpora in parts.items()
            if corpora != ()
        ]
        found = exposure(self.record, find_corpus(str(self.model.about.get("dataset", ""))))
        return [*lines, f"- the weights {found.mark}. {found.reason}"] if found.seen else lines

    def _audio(self) -> str:
        spec = self.spec
        normalised = spec.settings.get("normalize")
        how = f" Each clip is {'' if normalised else 'not '}normalised." if normalised is not None else ""
        return (
            f"Channels are averaged, then resampled to {spec.sample_rate} Hz (soxr HQ).{how} Clips shorter than "
            f"{spec.min_duration_s:.3g} s are padded with zeros."
        )

    def _limits(self) -> list[str]:
        limits = []
        if self.predictor.task == "single-label":
            limits.append("It only knows the classes above. Silence and other sounds are also assigned to one of them.")
        limits.append("Training and test clips come from the same data set; other recordings may give worse results.")
        if self.model.untrained:
            limits.append("**The backbone is untrained**: its weights are random. It is a control, not a usable model.")
        return limits

    def _licence(self) -> str:
        weights = weights_of(self.model)
        known = self.weights_licence
        forbids = self.record is not None and self.record.commercial_use is False
        limit = ", which does not allow commercial use" if forbids else ""
        data = "The training data has a separate licence."
        if self.model.untrained or not weights.startswith("pretrained:"):
            features = f" The program that computes {self.spec.name} has the licence {known}{limit}." if known else ""
            return f"The model contains no pretrained weights.{features} {data}"
        statement = f"their publisher states {known}" if known else "unknown to this program; ask their publisher"
        return f"Licence of the weights ({weights}): {statement}{limit}. {data}"
