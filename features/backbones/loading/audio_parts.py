"""The audio encoders of larger models: where they are, so that they can be loaded without the rest of the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any


@dataclass(frozen=True)
class AudioPart:
    """Where the audio encoder of a larger model is.

    Attributes:
        config: Names that lead from the model's configuration to the encoder's.
        prefixes: Beginnings of the names of its tensors in the weights; which one depends on how they were saved.
        separate: Whether only the files that hold its tensors are needed and hashed, and untrained weights are drawn
            for it alone. False: all files, and weights of the whole model, as before encoders were loaded alone, so
            that existing caches stay valid.
    """

    config: tuple[str, ...]
    prefixes: tuple[str, ...]
    separate: bool = True

    def config_in(self, config: Any) -> Any:
        """Return the encoder's configuration in that of the larger model."""
        return reduce(getattr, self.config, config)

    def name_in_encoder(self, tensor: str) -> str | None:
        """Return the name that a tensor of the larger model has in the encoder; None if it is not a part of it."""
        prefix = next((prefix for prefix in self.prefixes if tensor.startswith(prefix)), None)
        return None if prefix is None else tensor.removeprefix(prefix)


# model type -> the submodule that encodes audio; others: the whole model, or the encoder of an encoder-decoder
SUBMODULES = {
    "audioflamingo3": "audio_tower",
    "clap": "audio_model",
    "dac": "encoder",
    "encodec": "encoder",
    "mimi": "encoder",
    "pe_audio": "audio_encoder",
    "pe_audio_video": "audio_model.audio_encoder",
}
# model type of a larger model -> its audio encoder, which can be loaded alone
PARTS = {
    "audioflamingo3": AudioPart(("audio_config",), ("audio_tower.", "model.audio_tower.")),
    "pe_audio": AudioPart(("audio_config",), ("audio_encoder.",), separate=False),
    "pe_audio_video": AudioPart(
        ("audio_video_config", "audio_config"),
        ("audio_model.audio_encoder.", "audio_video_encoder.embedder.audio_encoder."),
    ),
}


def files_needed(weight_map: dict[str, str], model_type: object) -> list[str]:
    """Return the files of a sharded model that are needed, sorted: all, or those with tensors of its audio encoder.

    Args:
        weight_map: Tensor -> file, from the index of the weights.
        model_type: Of the model's configuration.
    """
    part = PARTS.get(str(model_type))
    if part is None or not part.separate:
        return sorted(set(weight_map.values()))
    return sorted({file for tensor, file in weight_map.items() if part.name_in_encoder(tensor)})
