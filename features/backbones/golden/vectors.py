"""Golden vectors: how they are chosen, stored and compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.backbones.loading.digests import state_sha256

if TYPE_CHECKING:
    import numpy as np

    from features.backbones.base import Backbone
    from features.spec import BackboneSpec

FOLDER = Path(__file__).parent
N_NUMBERS = 16
TOLERANCE = 1e-3  # of `Golden.error`; recurrent networks amplify the rounding of their input
WHOLE_MODEL = "config_sha256"  # of settings; the configuration also has parts of the model that do not embed audio


@dataclass(frozen=True)
class Golden:
    """The golden vectors of a preset.

    Attributes:
        preset: Its name.
        publisher: The package and the call that made them.
        weights: Whether they were made with the published weights, with `seeded` random ones of the same architecture,
            or without weights.
        weights_sha256: Digest of the weights, as in `BackboneSpec`; empty without weights.
        sample_rate: Hz.
        settings: `BackboneSpec.settings`.
        shapes: Shape (L, F, D) of the frames of each clip.
        numbers: `N_NUMBERS` of the frames of each clip, see `selected`.
        tensors_sha256: Digest of the tensors of a network with published weights, which other files can hold, too.
            Empty: only the file is known. Random tensors have none, since their last bits differ between machines.
    """

    preset: str
    publisher: str
    weights: Literal["published", "seeded", "none"]
    weights_sha256: str
    sample_rate: int
    settings: dict[str, Any]
    shapes: list[list[int]]
    numbers: list[list[float]]
    tensors_sha256: str = ""

    def is_of(self, spec: BackboneSpec) -> bool:
        """Whether a backbone has the weights and the settings of these vectors."""
        own = (self.weights_sha256, self.sample_rate, self.settings)
        return own == (spec.weights_sha256, spec.sample_rate, spec.settings)

    def fits(self, backbone: Backbone) -> bool:
        """Whether a loaded backbone has these weights, in the same file or in another one, and these settings."""
        spec = backbone.spec
        if self.is_of(spec):
            return True
        if self.sample_rate != spec.sample_rate or _own(self.settings) != _own(spec.settings):
            return False
        return self.tensors_sha256 != "" and self.tensors_sha256 == tensors_sha256(backbone)

    def error(self, frames: Sequence[np.ndarray]) -> float:
        """Return the largest relative error of a number; infinity for other shapes.

        A number is compared with its own size and with the median of its clip's, since some features have numbers of
        very different sizes and others are close to zero.

        Args:
            frames: (L, F, D) of each golden clip.
        """
        import numpy as np

        if [list(clip.shape) for clip in frames] != self.shapes:
            return float("inf")
        found = 0.0
        for clip, numbers in zip(frames, self.numbers, strict=True):
            expected, values = np.array(numbers), np.array(selected(clip))
            sizes = np.abs(expected)
            usual = np.median(sizes[sizes > 0]) if sizes.any() else 1.0
            found = max(found, float((np.abs(values - expected) / (sizes + usual)).max()))
        return found

    def write(self, folder: Path = FOLDER) -> Path:
        """Write the file of the preset."""
        path = folder / f"{self.preset}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return path


def find_golden(preset: str) -> Golden | None:
    """Return the golden vectors of a preset; None if there are none."""
    path = FOLDER / f"{preset}.json"
    return Golden(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def tensors_sha256(backbone: Backbone) -> str:
    """Return the digest of a network's tensors, whatever file they are from; empty if it has none."""
    return "" if backbone.module is None else state_sha256(backbone.module.state_dict())


def selected(frames: np.ndarray) -> list[float]:
    """Return `N_NUMBERS` numbers of frames (L, F, D).

    They are the values at equal distances, the first and the last among them. If all of these are 0, as in the sparse
    output of an 8-bit network, they are the sums of as many consecutive parts.
    """
    import numpy as np

    values = frames.reshape(-1)
    chosen = values[np.linspace(0, values.size - 1, N_NUMBERS).round().astype(int)]
    if not chosen.any():
        chosen = np.array([part.sum() for part in np.array_split(values, N_NUMBERS)])
    return [float(value) for value in chosen]


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the part that embeds audio."""
    return {key: value for key, value in settings.items() if key != WHOLE_MODEL}
