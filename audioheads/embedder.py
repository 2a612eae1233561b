"""A frozen backbone as a scikit-learn transformer."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from audioheads.recordings import Recording, check_dense, read_recordings
from features import backbones
from features.corpus import Corpus
from features.errors import AudioError, ConfigError
from features.extract import extract
from features.manifest import Manifest
from features.planning.progress import NoProgress
from features.planning.settings import Settings
from features.pooling import POOLINGS
from features.store.table import open_table

if TYPE_CHECKING:
    from features.spec import BackboneSpec

NO_LABEL = "none"
NAME = "recordings"  # folder in the cache


class Embedder(TransformerMixin, BaseEstimator):
    """Embed recordings with a frozen backbone, one vector per recording.

    A vector depends on its recording alone, not on the others in the call. With a cache, each recording is embedded
    once, in whichever order and process it is asked for, so that the folds of a cross-validation cost nothing.

    Attributes:
        backbone: Name of a backbone or preset, or an entry as in a config: `{"name": "yamnet", "weights": "a.tflite"}`.
        pooling: How frames become one vector: any of mean, std, max; several are concatenated.
        layer: The backbone's index of a layer; -1 is the last.
        cache: Folder that keeps the embeddings; None: nothing is kept.
        device: `auto`, or a torch device.
        precision: `fp32`, `bf16` or `fp16`.
        sample_rate: Rate in Hz of arrays that come without one.
    """

    def __init__(
        self,
        backbone: str | Mapping[str, Any] = "wav2vec2-nano",
        *,
        pooling: Sequence[str] = ("mean", "std"),
        layer: int = -1,
        cache: str | Path | None = None,
        device: str = "auto",
        precision: str = "fp32",
        sample_rate: int | None = None,
    ) -> None:
        """Keep the parameters; they are checked when they are used."""
        self.backbone = backbone
        self.pooling = pooling
        self.layer = layer
        self.cache = cache
        self.device = device
        self.precision = precision
        self.sample_rate = sample_rate

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: N803 - scikit-learn's names
        """Check the parameters; nothing is learned.

        Args:
            X: Recordings; they are not read.
            y: Not used.

        Raises:
            ConfigError: A parameter is invalid.
            WeightsError: The weights cannot be found or downloaded.
        """
        check_dense(X)
        self._poolings()
        self._layer(self._spec())
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Embed recordings.

        Args:
            X: See `audioheads.recordings.read_recordings`; or a `Manifest`, whose segments are embedded.

        Returns:
            Shape (N, D · poolings) float32, in the order of the recordings.

        Raises:
            AudioError: A recording cannot be read; the message names it.
            ConfigError: A parameter is invalid.
            WeightsError: The weights cannot be found or downloaded.
        """
        spec, poolings = self._spec(), self._poolings()
        layer = self._layer(spec)
        with tempfile.TemporaryDirectory(prefix="audioheads-") as folder:
            on_disk = True  # else digests of temporary files would pile up in the cache folder
            if isinstance(X, Manifest):
                manifest, ids = X, X.clips["id"].tolist()
            else:
                found = read_recordings(X, self.sample_rate)
                if not found:
                    return np.zeros((0, spec.dim * len(poolings)), np.float32)
                manifest, ids = _manifest_of(found, Path(folder))
                on_disk = all(isinstance(recording, Path) for recording in found)
            settings = Settings(pooling=poolings, precision=self.precision, device=self._device())
            load = partial(backbones.load, self._entry(), settings.device, settings.precision, spec)
            cache = Path(folder) / "cache" if self.cache is None else Path(self.cache)
            corpus = Corpus(manifest, cache / manifest.name, save=on_disk)
            for clip, reason in corpus.unreadable.items():
                raise AudioError(f"{clip}: {reason}")
            summary = extract(corpus, spec, load, settings, cache, NoProgress())
            for clip, reason in summary.failures.items():
                raise AudioError(f"{clip}: {reason}")
            table = open_table(summary.path)
            rows = table.rows(ids)
            return np.concatenate([table.layer(pooling, layer, rows) for pooling in poolings], axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns, such as `wav2vec2-nano_mean_0`."""
        spec = self._spec()
        names = [f"{spec.title}_{pooling}_{at}" for pooling in self._poolings() for at in range(spec.dim)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that inputs are recordings and that nothing is learned."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.two_d_array = self.sample_rate is not None  # one waveform per row
        tags.input_tags.string = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return True, because there is nothing to fit."""
        return True

    def _entry(self) -> dict[str, Any]:
        """Return the backbone's entry as in a config."""
        if isinstance(self.backbone, str):
            return {"name": self.backbone}
        if isinstance(self.backbone, Mapping):
            return dict(self.backbone)
        raise ConfigError(f"backbone should be a name or an entry such as {{'name': 'mfcc'}}, got {self.backbone!r}")

    def _spec(self) -> BackboneSpec:
        return backbones.describe_new(self._entry())

    def _poolings(self) -> tuple[str, ...]:
        """Return the poolings in the order of the cache."""
        given = (self.pooling,) if isinstance(self.pooling, str) else tuple(self.pooling)
        if not given or set(given) - set(POOLINGS):
            raise ConfigError(f"pooling should be one or several of {', '.join(POOLINGS)}, got {self.pooling!r}")
        return tuple(pooling for pooling in POOLINGS if pooling in given)

    def _layer(self, spec: BackboneSpec) -> int:
        """Return the position of the layer on the layer axis."""
        layers = list(spec.layers)
        if self.layer == -1:
            return len(layers) - 1
        if self.layer not in layers:
            raise ConfigError(f"layer {self.layer!r}: {spec.title} has the layers {layers[0]} to {layers[-1]}")
        return layers.index(self.layer)

    def _device(self) -> str:
        from pipeline.stages.features import resolve_device

        return resolve_device(self.device)


def _manifest_of(recordings: Sequence[Recording], folder: Path) -> tuple[Manifest, list[str]]:
    """Return a manifest of the different recordings, and the id of each; waveforms are written to the folder."""
    import pandas as pd
    from scipy.io import wavfile

    paths: dict[str, str] = {}
    ids = []
    for recording in recordings:
        if isinstance(recording, Path):
            clip = path = str(recording.absolute())
        else:
            digest = hashlib.sha256(f"{recording.sample_rate} ".encode() + recording.samples.tobytes()).hexdigest()
            clip, path = f"array {digest[:32]}", str(folder / f"{digest}.wav")
            if clip not in paths:
                wavfile.write(path, recording.sample_rate, recording.samples)  # libsndfile would write the time of day
        paths[clip] = path
        ids.append(clip)
    table = pd.DataFrame({"id": list(paths), "path": list(paths.values()), "label": NO_LABEL})
    return Manifest(NAME, Path(), table, "single-label"), ids
