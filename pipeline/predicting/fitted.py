"""Load trained fits, which map rows of stage 1 to probabilities. Several fits are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from features import backbones
from features.errors import UserError
from features.labels import Task
from features.planning.settings import Settings
from features.pooling import POOLINGS
from features.spec import BackboneSpec
from features.store.writer import CacheRows, LongFrames
from heads.evaluation.decisions.operating_points import OperatingPoint, Rule
from heads.finetuning.options import Recipe
from heads.kinds.registry import options_class as head_options
from heads.models.options import EndToEndOptions
from heads.training.checkpoint import SavedHead, load_head, stored_decisions
from pipeline.config.finetune_entries import backbone_entry, options_class
from pipeline.finetune.models import InitialWeights
from pipeline.finetune.trained_network import load_network, probabilities_of, window_length
from pipeline.predicting.locate import FitFile, FoundModel
from pipeline.results.features_index import read_features_index

PIECE_BYTES = 1 << 25  # bytes of a long clip's frames read at a time


class FittedModel(Protocol):
    """Maps rows of stage 1 to outputs.

    Attributes:
        labels: Class names in the order of the outputs; empty for regression.
        task: Kind of output.
        entry: Entry of `features.backbones` that computes the inputs.
        expected: Backbone spec in training, as JSON values.
        clip_s: Median length of the training clips in seconds; None if unknown.
        point: Thresholds for the outputs; None if it was trained without `operating_point`.
        calibration: Name of the map that its outputs have passed, or `none`.
        background: The class of background, which forms no events; None: there is no such class.
    """

    labels: tuple[str, ...]
    task: Task
    entry: dict[str, Any]
    expected: Mapping[str, Any]
    clip_s: float | None
    point: AveragedPoint | None
    calibration: str
    background: str | None

    def settings(self, device: str) -> Settings:
        """Return the stage 1 settings that the model needs."""

    def __call__(self, rows: CacheRows, spec: BackboneSpec) -> np.ndarray:
        """Return probabilities (n, C) float32 of embedded clips, or values (n, 1) for regression."""


def load_fitted(
    model: FoundModel, *, device: str = "cpu", trusted: Sequence[str] = (), weights: str | None = None
) -> FittedModel:
    """Load the fits of a model.

    Args:
        model: From `locate.choose`.
        device: Torch device of the networks.
        trusted: Types that a `sklearn` head may contain in addition to scikit-learn's own.
        weights: Backbone weights, if they moved since training.

    Raises:
        WeightsError: Weights are missing or do not fit.
        UserError: A file comes from an older version and lacks needed metadata.
    """
    files = {} if model.exported is None else dict(model.about.get("files", {}))
    moved = {key: str(Path(model.exported or "") / file) for key, file in files.items()}
    if weights is not None:
        moved["weights"] = weights
    if model.fits[0].kind == "network":
        return NetworkEnsemble(model.fits, device, moved)
    return HeadEnsemble(model.fits, _stage1(model), moved, trusted)


@dataclass(frozen=True)
class AveragedPoint:
    """Thresholds for the mean of the outputs of several fits.

    Attributes:
        rule: What the thresholds of each fit achieve on its validation clips.
        thresholds: Mean of the fits' thresholds of each class, shape (C,).
    """

    rule: Rule
    thresholds: np.ndarray

    @staticmethod
    def of(points: Sequence[OperatingPoint | None]) -> AveragedPoint | None:
        """Return the mean of some fits' thresholds; None if one of them has none."""
        known = [point for point in points if point is not None]
        if not known or len(known) < len(points):
            return None
        return AveragedPoint(known[0].rule, np.mean([point.thresholds for point in known], axis=0))


class HeadEnsemble:
    """Heads on one frozen backbone."""

    def __init__(
        self, fits: Sequence[FitFile], stage1: Mapping[str, Any], moved: Mapping[str, str], trusted: Sequence[str]
    ) -> None:
        """Load heads.

        Args:
            fits: Files of the heads.
            stage1: See `pipeline.stages.fit_metadata.stage1_notes`.
            moved: Backbone options whose value differs from training, such as paths.
            trusted: See `heads.training.checkpoint.load_head`.
        """
        self.heads = [load_head(fit.path, trusted) for fit in fits]
        self.stage1 = stage1
        first = self.heads[0]
        self.labels, self.task, self.expected = first.labels, first.task, first.backbone
        self.entry = {**stage1["backbone"], **moved}
        self.clip_s: float | None = stage1.get("clip_s")
        self.poolings = tuple(dict.fromkeys(name for head in self.heads for name in head.pooling))
        self.reads = head_options(first.head).reads
        self.frame_layers: list[int] | None = None
        if self.reads == "layer-frames":
            self.frame_layers = list(stage1["layers"])
        elif self.reads == "frames":
            self.frame_layers = sorted({int(head.layer) for head in self.heads})
        self.point = AveragedPoint.of([head.point for head in self.heads])
        self.background: str | None = first.extra.get("background")
        self.calibration: str = "none" if first.calibrator is None else first.calibrator.method

    def settings(self, device: str) -> Settings:
        """See `FittedModel.settings`."""
        return Settings(
            pooling=self.poolings,
            precision=self.stage1["precision"],
            frame_layers=None if self.frame_layers is None else tuple(self.frame_layers),
            dtype=self.stage1.get("dtype", "float32"),
            frame_dtype=self.stage1["frame_dtype"],
            window_overlap_s=self.stage1["window_overlap_s"],
            resample=self.stage1["resample"],
            device=device,
        )

    def features(self, head: SavedHead, rows: CacheRows, spec: BackboneSpec) -> Any:
        """Return the input of one head for embedded clips, see `heads.batched.job.HeadType`."""
        if self.frame_layers is not None:
            whole = [clip_frames(frames) for frames in rows.frames or ()]
            if self.reads == "layer-frames":
                return whole
            at = self.frame_layers.index(int(head.layer))
            return [frames[:, at] for frames in whole]
        wanted = [rows.pooled[name] for name in POOLINGS if name in head.pooling]
        values = np.concatenate(wanted, axis=2, dtype=np.float32)  # [n, L, D·P]
        if self.reads == "layers":
            return values[:, [spec.layers.index(layer) for layer in self.stage1.get("layers", spec.layers)]]
        return values[:, spec.layers.index(int(head.layer))]

    def __call__(self, rows: CacheRows, spec: BackboneSpec) -> np.ndarray:
        """See `FittedModel.__call__`."""
        if not rows.ids:
            return np.zeros((0, max(1, len(self.labels))), np.float32)
        return averaged([head.predict(self.features(head, rows, spec)) for head in self.heads])


class NetworkEnsemble:
    """Networks trained end to end on one kind of input."""

    expected: Mapping[str, Any] = {}
    task: Task = "single-label"

    def __init__(self, fits: Sequence[FitFile], device: str, moved: Mapping[str, str]) -> None:
        """Load networks onto a device; `moved` are backbone options whose value differs from training."""
        about = fits[0].about
        self.window_frames = window_length(about, fits[0].path)
        self.about = about
        self.labels: tuple[str, ...] = tuple(about["labels"])
        self.entry = dict(about["input"])
        self.clip_s: float | None = about["stage1"].get("clip_s")
        kind = options_class(about["name"])
        known = {key: value for key, value in about.items() if key in kind.model_fields}
        self.options: Recipe = kind.model_validate({**known, **moved})
        self.device = device
        self.background: str | None = about.get("background")
        self.source = InitialWeights()
        if isinstance(self.options, EndToEndOptions):
            self.source = InitialWeights(spec=backbones.describe(backbone_entry(self.options)))  # type: ignore[arg-type]
        self.networks = [load_network(fit.path, self.options, self.source, len(self.labels), device) for fit in fits]
        decisions = [stored_decisions(fit.about, len(self.labels), str(fit.path)) for fit in fits]
        self.calibrators = [calibrator for calibrator, _ in decisions]
        self.point = AveragedPoint.of([point for _, point in decisions])
        self.calibration: str = "none" if self.calibrators[0] is None else self.calibrators[0].method

    def settings(self, device: str) -> Settings:
        """See `FittedModel.settings`."""
        stage1 = self.about["stage1"]
        return Settings(
            pooling=("frames",),
            frame_dtype=stage1.get("frame_dtype", "float32"),
            window_overlap_s=stage1["window_overlap_s"],
            resample=stage1["resample"],
            device=device,
        )

    def __call__(self, rows: CacheRows, spec: BackboneSpec) -> np.ndarray:
        """See `FittedModel.__call__`."""
        if not rows.ids:
            return np.zeros((0, len(self.labels)), np.float32)
        clips = FramesInMemory([clip_frames(frames)[:, 0] for frames in rows.frames or ()])
        parts = []
        for network, calibrator in zip(self.networks, self.calibrators, strict=True):
            outputs = probabilities_of(network, self.options, self.source, clips, self.window_frames, self.device)
            parts.append(outputs if calibrator is None else calibrator(outputs, self.task))
        return averaged(parts)


class FramesInMemory:
    """Frames of clips in memory, with the interface of `heads.batched.frame_blocks.StoredFrames`."""

    def __init__(self, frames: Sequence[np.ndarray]) -> None:
        """Keep one (F, D) array per clip."""
        self._frames = frames
        self.lengths = np.array([len(clip) for clip in frames], dtype=np.int64)
        self.dim = frames[0].shape[1]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._frames)

    def read(self, clip: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return frames start to stop - 1 of a clip, (F, D)."""
        return self._frames[clip][start:stop]


def clip_frames(frames: np.ndarray | LongFrames) -> np.ndarray:
    """Return the frames of a clip as one array (F, L, D)."""
    return frames if isinstance(frames, np.ndarray) else np.concatenate(list(frames.pieces(PIECE_BYTES)))


def averaged(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of the fits' outputs as float32; a single output is returned unchanged."""
    return outputs[0] if len(outputs) == 1 else np.stack(outputs).astype(np.float64).mean(axis=0).astype(np.float32)


def _stage1(model: FoundModel) -> Mapping[str, Any]:
    """Return the stage 1 notes of the heads, from their files or from the run that contains them."""
    first = model.fits[0]
    if first.stage1:
        return first.stage1
    label = first.path.parent.parent.name
    entry = read_features_index(model.run_dir).get(label) if model.run_dir is not None else None
    if entry is None:
        raise UserError(
            f"{first.path}: does not record its stage 1 settings and is outside its run; train the head again"
        )
    kept = ("window_overlap_s", "resample", "frame_dtype")
    precision = model.about.get("precision", "fp32")
    backbone = {key: value for key, value in entry["backbone"].items() if key != "label"}
    stored = {"dtype": entry["features"].get("dtype", "float32")}
    return {"backbone": backbone, "precision": precision, **stored, **{key: entry["features"][key] for key in kept}}
