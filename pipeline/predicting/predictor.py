"""A trained model on new audio: one object that `predict`, `export` and the examples of exported folders use."""

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
from features.planning.progress import Progress
from features.records import Records
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store.content_keys import ClipContent, clip_contents
from features.store.writer import CacheRows
from pipeline.predicting.audio import NO_LABEL
from pipeline.predicting.fitted import load_fitted
from pipeline.predicting.locate import FoundModel, choose, find_model
from pipeline.stages.features import resolve_device

Take = Callable[[Sequence[str], np.ndarray], None]
"""Told of each finished block: ids of its rows, and their outputs (n, C)."""


class Predictor:
    """A trained model, ready for new audio.

    Attributes:
        model: Its fits; their outputs are averaged.
        labels: Class names in the order of the outputs; none in regression.
        task: What the outputs are.
        spec: Of what embeds audio for it.
        settings: How stage 1 runs.
        trusted: Types that its heads may hold, and code that its backbone may run.
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
        """Load a model's fits; the backbone is found and checked here and loaded when audio comes.

        Args:
            model: From `pipeline.predicting.locate`.
            device: `auto`, or a torch device.
            trusted: Types that a head of `sklearn` may hold beside scikit-learn's own, and import paths of code that a
                backbone `python` or `hear` may run.
            weights: The backbone's, where they lie elsewhere than in training.
            precision: Of the backbone; None: as in training.

        Raises:
            AudioheadsError: Weights are missing, or are not those that the model was trained on.
        """
        device = resolve_device(device)
        self.model = model
        self.trusted = tuple(trusted)
        self.fitted = load_fitted(model, device=device, trusted=trusted, weights=weights)
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
        """Load the model at a path, see `found.find_model`; without `fold` all folds are averaged.

        Raises:
            AudioheadsError: No such model, fold or seed; weights are missing or do not fit.
        """
        model, _ = choose(find_model(Path(path)), fold, seed)
        return cls(model, device=device, trusted=trusted, weights=weights)

    @property
    def n_outputs(self) -> int:
        """C: numbers for a clip."""
        return max(1, len(self.labels))

    @cached_property
    def backbone(self) -> Backbone:
        """What embeds audio."""
        settings = self.settings
        return backbones.load(self.fitted.entry, settings.device, settings.precision, self.spec)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides an output."""
        settings = json.loads(json.dumps(dataclasses.asdict(self.settings)))
        return text_sha256(
            {
                "fits": [file_sha256(fit.path) for fit in self.model.fits],
                "spec": fp.flatten(self.settings.cache_spec(self.spec)),
                "settings": {key: settings[key] for key in ("pooling", "resample", "window_overlap_s")},
            }
        )

    def predict(self, audio: Sequence[str | Path | np.ndarray], sample_rate: int | None = None) -> np.ndarray:
        """What the model says of whole clips.

        Args:
            audio: Audio files, or mono waveforms (T,) in [-1, 1].
            sample_rate: Of waveforms, in Hz; None: the rate that the model takes (`spec.sample_rate`).

        Returns:
            Probabilities (N, C) float32 in the order of `labels`, each on its own in multi-label; values (N, 1)
            in regression.

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
            failures = self.run(manifest, contents, range(len(paths)), Silent(), take)
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
        """Clips through stage 1 and the fits, block by block.

        Args:
            manifest: The clips.
            contents: Of every row.
            rows: Those to score.
            progress: Told after each batch.
            take: Told of each finished block; called in another thread.
            scratch: Where frames of long clips may lie meanwhile.
            through: What turns rows into outputs; None: the fits.

        Returns:
            Id -> reason of clips that cannot be scored.
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
                embed_blocks(plan, numbers, self.backbone, settings, progress, write, scratch)
        return failures

    def _as_file(self, clip: str | Path | np.ndarray, sample_rate: int | None, path: Path) -> Path:
        """A clip as a file: waveforms are written as they are."""
        if not isinstance(clip, np.ndarray):
            return Path(clip)
        if clip.ndim != 1 or not len(clip):
            raise AudioError(f"expected a waveform (T,) with at least one sample, got shape {clip.shape}")
        sf.write(path, clip.astype(np.float32), sample_rate or self.spec.sample_rate, "FLOAT")
        return path


class Silent:
    """Nobody who wants to know how far stage 1 is."""

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """See `features.planning.progress.Progress`."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """See `features.planning.progress.Progress`."""

    def note(self, message: str) -> None:
        """See `features.planning.progress.Progress`."""


def check_same(spec: BackboneSpec, expected: Mapping[str, Any], what: str) -> None:
    """Refuse a backbone that is not the one a head was trained on.

    Args:
        spec: Of the backbone that is here.
        expected: What the head's file says; empty where it says nothing.
        what: The model, for messages.

    Raises:
        WeightsError: They differ in something that changes values.
    """
    if not expected:
        return
    here, there = (
        fp.flatten({"backbone": json.loads(json.dumps(side))}) for side in (dataclasses.asdict(spec), expected)
    )
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            name = key.removeprefix("backbone.")
            raise WeightsError(
                f"{what}: was trained on {expected.get('name')} from {expected.get('weights')}, and {spec.weights} "
                f"differs in {name} ({_short(here.get(key))}, expected {_short(there.get(key))}); "
                "name the same weights with --weights"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"
