"""Trained models with the methods of a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audioheads.recordings import Recording, is_one, read_recordings
from features.audio import Waveform
from pipeline.predicting.predictor import Predictor as _Predictor


class Predictor:
    """A trained model that predicts new recordings.

    Attributes:
        classes_: Class names in the order of `predict_proba`, shape (C,); empty for regression.
        task: `single-label`, `multi-label` or `regression`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fold: str | None = None,
        seed: int | None = None,
        device: str = "auto",
        weights: str | None = None,
        trusted: Sequence[str] = (),
    ) -> None:
        """Load a model.

        Args:
            path: `runs/<name>/models/<model>/<head>`, a run folder with one model, a weights file, or an exported
                folder.
            fold: Use the fits of this fold; None averages all.
            seed: Use the fits of this seed; None averages all.
            device: `auto`, or a torch device.
            weights: Weights of the backbone, if they moved since training.
            trusted: Types and code that the model may use, see `audioheads predict --help`.

        Raises:
            AudioheadsError: The model, fold or seed does not exist, or weights are missing or do not fit.
        """
        self.path = Path(path)
        self._model = _Predictor.load(path, fold=fold, seed=seed, device=device, trusted=trusted, weights=weights)
        self.classes_ = np.array(self._model.labels, dtype=object)
        self.task = self._model.task

    def __repr__(self) -> str:
        """Name the model and its outputs."""
        outputs = f"{len(self.classes_)} classes" if len(self.classes_) else "a number"
        return f"Predictor({self._model.model.title!r}, {outputs})"

    def predict_proba(self, recordings: Any, sample_rate: int | None = None) -> np.ndarray:
        """Return the probability of each class, independent per class for multi-label.

        Args:
            recordings: See `audioheads.recordings.read_recordings`.
            sample_rate: Rate in Hz of arrays that come without one.

        Returns:
            Shape (N, C) float32; (C,) for a single recording.

        Raises:
            AudioError: A recording cannot be read; the message names it.
            TypeError: The model is a regression.
        """
        if self.task == "regression":
            raise TypeError("a regression has no probabilities; use `predict`")
        return self._outputs(recordings, sample_rate)

    def predict(self, recordings: Any, sample_rate: int | None = None) -> Any:
        """Return the most probable class of each recording.

        Args:
            recordings: See `audioheads.recordings.read_recordings`.
            sample_rate: Rate in Hz of arrays that come without one.

        Returns:
            Class names (N,); for multi-label, tuples of the names whose probability reaches the model's threshold
            (its operating point's, or 0.5); for regression, values (N,) float32. For a single recording, one of these.

        Raises:
            AudioError: A recording cannot be read; the message names it.
        """
        outputs = self._outputs(recordings, sample_rate)
        if self.task == "regression":
            return outputs[..., 0]
        if self.task == "single-label":
            return self.classes_[outputs.argmax(-1)]
        named = [tuple(self.classes_[row >= self._model.thresholds]) for row in np.atleast_2d(outputs)]
        return named[0] if outputs.ndim == 1 else named

    def _outputs(self, recordings: Any, sample_rate: int | None) -> np.ndarray:
        """Return the outputs (N, C), or (C,) for a single recording."""
        found = read_recordings(recordings, sample_rate)
        outputs = np.zeros((len(found), self._model.n_outputs), np.float32)
        rates = [recording.sample_rate if isinstance(recording, Waveform) else None for recording in found]
        for rate in dict.fromkeys(rates):
            rows = [at for at, own in enumerate(rates) if own == rate]
            outputs[rows] = self._model.predict([_clip(found[at]) for at in rows], rate)
        return outputs[0] if is_one(recordings) else outputs


def _clip(recording: Recording) -> Path | np.ndarray:
    return recording.samples if isinstance(recording, Waveform) else recording
