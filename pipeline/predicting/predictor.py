"""The `Predictor` applies a trained model to audio, for `predict`, `export` and the examples of exported folders."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf
import torch

from features import backbones
from features.backbones.base import Backbone
from features.backbones.loading.digests import file_sha256, text_sha256
from features.errors import AudioError, WeightsError
from features.inference.embed import embed_blocks
from features.inference.worker import computing_as_planned
from features.labels import Task
from features.manifest import Manifest
from features.planning.plan import default_batch_s, make_plan
from features.planning.progress import NoProgress, Progress
from features.records import Records
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store.content_keys import ClipContent, clip_contents
from features.store.writer import CacheRows
from heads.evaluation.predictions import THRESHOLD
from pipeline.predicting.fitted import load_fitted
from pipeline.predicting.locate import FoundModel, choose, find_model
from pipeline.recordings.clips import NO_LABEL
from pipeline.stages.features import resolve_device

Take = Callable[[Sequence[str], np.ndarray], None]
"""Callback for each finished block: ids of its rows, and their outputs (n, C)."""


class Predictor:
    """A trained model, ready for new audio.

    Attributes:
        model: The model with the fits to average.
        labels: Class names in the order of the outputs; empty for regression.
        task: Kind of output.
        spec: Spec of the backbone or input.
        settings: Settings of stage 1.
        trusted: Types that the heads may contain, and code that the backbone may run.
    """

    def __init__(
        self,
        model: FoundModel,
        *,
        device: str = "auto",
        trusted: Sequence[str] = (),
        weights: str | None = None,
        precision: str | None = None,
    ) -> None:
        """Load the fits of a model. The backbone is checked here and loaded at the first use.

        Args:
            model: From `pipeline.predicting.locate`.
            device: `auto`, or a torch device.
            trusted: Types that a `sklearn` head may contain in addition to scikit-learn's own, and import paths of
                code that a backbone `python` or `hear` may run.
            weights: Backbone weights, if they moved since training.
            precision: Precision of the backbone; None: as in training.

        Raises:
            AudioheadsError: Weights are missing, or differ from those used in training.
        """
        device = resolve_device(device)
        self.model = model
        self.trusted = tuple(trusted)
        self.fitted = load_fitted(model, device=device, trusted=trusted, weights=weights)
        if model.state is not None:
            model.state.check()
        self.labels: tuple[str, ...] = self.fitted.labels
        self.task: Task = self.fitted.task
        self.settings = self.fitted.settings(device)
        if precision is not None:
            self.settings = dataclasses.replace(self.settings, precision=precision)
        backbones.check_trusted(self.fitted.entry, self.trusted, str(model.path))
        try:
            self.spec = backbones.describe(self.fitted.entry)
        except WeightsError as error:
            raise WeightsError(f"{error} (for this command: --weights PATH)") from error
        check_same(self.spec, self.fitted.expected, str(model.path))

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        fold: str | None = None,
        seed: int | None = None,
        device: str = "auto",
        trusted: Sequence[str] = (),
        weights: str | None = None,
    ) -> Predictor:
        """Load the model at a path, see `locate.find_model`. Without `fold`, all folds are averaged.

        Raises:
            AudioheadsError: The model, fold or seed does not exist, or weights are missing or do not fit.
        """
        model, _ = choose(find_model(Path(path)), fold, seed)
        return cls(model, device=device, trusted=trusted, weights=weights)

    @property
    def n_outputs(self) -> int:
        """Number of outputs per clip, C."""
        return max(1, len(self.labels))

    @property
    def thresholds(self) -> np.ndarray:
        """Threshold of each class, shape (C,): those of the operating point, or 0.5."""
        point = self.fitted.point
        return np.full(self.n_outputs, THRESHOLD) if point is None else point.thresholds

    @cached_property
    def backbone(self) -> Backbone:
        """The loaded backbone."""
        settings = self.settings
        return backbones.load(self.fitted.entry, settings.device, settings.precision, self.spec)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that affects outputs."""
        settings = json.loads(json.dumps(dataclasses.asdict(self.settings)))
        return text_sha256(
            {
                "fits": [file_sha256(fit.path) for fit in self.model.fits],
                "spec": fp.flatten(self.settings.cache_spec(self.spec)),
                "settings": {key: settings[key] for key in ("pooling", "resample", "window_overlap_s")},
            }
        )

    def predict(self, audio: Sequence[str | Path | np.ndarray], sample_rate: int | None = None) -> np.ndarray:
        """Predict whole clips.

        Args:
            audio: Audio files, or mono waveforms (T,) in [-1, 1].
            sample_rate: Sample rate of the waveforms in Hz; None: the rate of the model (`spec.sample_rate`).

        Returns:
            Probabilities (N, C) float32 in the order of `labels`, independent per class for multi-label; values (N, 1)
            for regression.

        Raises:
            AudioError: A clip cannot be read; the message names it.
        """
        with tempfile.TemporaryDirectory(prefix="audioheads-") as folder:
            paths = [self._as_file(clip, sample_rate, Path(folder) / f"{at}.wav") for at, clip in enumerate(audio)]
            if not paths:
                return np.zeros((0, self.n_outputs), np.float32)
            ids = [str(at) for at in range(len(paths))]
            table = pd.DataFrame({"id": ids, "path": list(map(str, paths)), "label": NO_LABEL})
            manifest = Manifest("predict", Path(), table, "single-label")
            outputs = np.zeros((len(paths), self.n_outputs), np.float32)

            def take(ids: Sequence[str], values: np.ndarray) -> None:
                outputs[[int(clip) for clip in ids]] = values

            contents = clip_contents(manifest, Path(folder), save=False)
            failures = self.run(manifest, contents, range(len(paths)), NoProgress(), take)
        for clip, reason in failures.items():
            named = audio[int(clip)]
            raise AudioError(f"{f'clip {clip}' if isinstance(named, np.ndarray) else named}: {reason}")
        return outputs

    def run(
        self,
        manifest: Manifest,
        contents: Records[ClipContent],
        rows: Sequence[int],
        progress: Progress,
        take: Take,
        scratch: Path | None = None,
        through: Callable[[CacheRows, BackboneSpec], np.ndarray] | None = None,
    ) -> dict[str, str]:
        """Run clips through stage 1 and the fits, block by block.

        Args:
            manifest: The clips.
            contents: File content of every row.
            rows: Manifest rows to score.
            progress: Updated after each batch.
            take: Callback for each finished block, called in another thread.
            scratch: Folder for temporary frames of long clips, and for marks of the files being decoded.
            through: Maps embedded rows to outputs; None: the fits.

        Returns:
            Clip id -> reason, for clips that cannot be scored.
        """
        settings = self.settings
        plan = make_plan(
            manifest,
            rows,
            contents,
            self.spec,
            fp.fingerprint(settings.cache_spec(self.spec)),
            block_rows=settings.block_rows,
            batch_s=settings.batch_s or default_batch_s(self.spec, settings.device),
            threads=torch.get_num_threads(),
            keep_frames="frames" in settings.pooling,
            precision=settings.precision,
        )
        failures = {clip: reason for clip, _, reason in plan.failures}
        outputs = through or self.fitted

        def write(number: int, embedded: CacheRows, cost: dict[str, Any]) -> None:
            failures.update({clip: reason for clip, _, reason in embedded.failures})
            take(embedded.ids, outputs(embedded, self.spec))

        progress.start(len(plan.clips), sum(clip.native_s for clip in plan.clips), 0)
        if plan.blocks:
            with computing_as_planned(plan.threads):
                numbers = range(len(plan.blocks))
                embed_blocks(plan, numbers, self.backbone, settings, progress, write, scratch, marks=scratch)
        return failures

    def _as_file(self, clip: str | Path | np.ndarray, sample_rate: int | None, path: Path) -> Path:
        """Return the clip as a file; waveforms are written unchanged."""
        if not isinstance(clip, np.ndarray):
            return Path(clip)
        if clip.ndim != 1 or not len(clip):
            raise AudioError(f"expected a waveform (T,) with at least one sample, got shape {clip.shape}")
        sf.write(path, clip.astype(np.float32), sample_rate or self.spec.sample_rate, "FLOAT")
        return path


def check_same(spec: BackboneSpec, expected: Mapping[str, Any], what: str) -> None:
    """Raise if a backbone is not the one that a head was trained on.

    Args:
        spec: Spec of the available backbone.
        expected: Spec recorded in the head's file; empty if none.
        what: Name of the model for messages.

    Raises:
        WeightsError: They differ in something that affects outputs.
    """
    if not expected:
        return
    here, there = (fp.flatten({"backbone": json.loads(json.dumps(side))}) for side in (spec.stored(), expected))
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            name = key.removeprefix("backbone.")
            raise WeightsError(
                f"{what}: was trained on {expected.get('name')} from {expected.get('weights')}, and {spec.weights} "
                f"differs in {name} ({_short(here.get(key))}, expected {_short(there.get(key))}); "
                "give the same weights with --weights"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"
