"""The models and sizes of the GPU benchmark: real architectures with seeded random weights, or tiny ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_TINY_WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
}
_TINY_CLAP = {"audio_config": {"patch_embeds_hidden_size": 16, "hidden_size": 128, "depths": [1, 1, 1, 1]}}


@dataclass(frozen=True)
class Model:
    """A backbone of the benchmark.

    Attributes:
        name: The preset.
        tiny: Options that make it small enough for any machine.
        peer: The transformers class that a user would call instead, with its feature extractor; None: no comparison.
        share_goal: Fraction of the device's bf16 matrix rate to reach; None: no goal.
    """

    name: str
    tiny: dict[str, Any] = field(default_factory=dict)
    peer: tuple[str, str] | None = None
    share_goal: float | None = None

    def entry(self, tiny: bool) -> dict[str, Any]:
        """Return the entry of a config."""
        weights = {} if self.name == "logmel" else {"weights": "random"}
        return {"name": self.name, **weights, **(self.tiny if tiny else {})}


SPEED = (
    Model("wav2vec2-base", {"size": "tiny"}, ("Wav2Vec2Model", "Wav2Vec2FeatureExtractor"), 0.5),
    Model("ast", {"architecture": _TINY}, ("ASTModel", "ASTFeatureExtractor"), 0.4),
    Model("whisper-base", {"architecture": _TINY_WHISPER}, ("WhisperModel", "WhisperFeatureExtractor"), 0.4),
    Model("wav2vec2-large", {"size": "tiny"}, ("Wav2Vec2Model", "Wav2Vec2FeatureExtractor")),
    Model("vggish"),
)
CORRECTNESS = (
    *SPEED,
    Model("hubert-base", {"size": "tiny"}),
    Model("wavlm-base", {"size": "tiny"}),
    Model("data2vec-audio-base", {"size": "tiny"}),
    Model("unispeech-sat-base", {"size": "tiny"}),
    Model("clap", {"architecture": _TINY_CLAP}),
    Model("w2v-bert-2.0", {"architecture": {**_TINY, "output_hidden_size": 32}}),
    Model("logmel"),
)


@dataclass(frozen=True)
class Sizes:
    """How much work each row does.

    Attributes:
        files: WAV files of the speed rows.
        file_s: Their length in seconds.
        peer_files: The part of them that the comparison embeds.
        peer_batches: Batch sizes that the comparison tries; the best one counts.
        square: Edge of the matrices whose product gives the device's rate.
        clips: Clips of the correctness rows.
        head_folds: Folds of the `mlp` grid.
        image_clips: Clips of an epoch of ResNet18.
        spare_bytes: Memory for the batch that is to run out of memory.
    """

    files: int
    file_s: float
    peer_files: int
    peer_batches: tuple[int, ...]
    square: int
    clips: int
    head_folds: int
    image_clips: int
    spare_bytes: int


FULL = Sizes(2048, 10.0, 192, (1, 16, 64), 8192, 16, 1, 256, 3 * 2**29)
SMALL = Sizes(6, 1.0, 4, (1, 2), 256, 6, 0, 8, 2**25)
