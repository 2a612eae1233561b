"""Wav2Vec2 and its kin (HuBERT, WavLM, Data2Vec-audio, UniSpeech-SAT), exact under padding.

Padded batches of these models are wrong in Hugging Face, torchaudio and fairseq (pytorch/audio#2242,
#3094; fairseq#3227): padding leaks through the group norm of the first convolution, through the
positional convolutions and through the input normalisation. Here each clip's frames equal what
`transformers` gives for that clip alone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from features.backbones import weights as found
from features.backbones.base import Backbone, BackboneOptions, check_precision
from features.errors import ConfigError, WeightsError
from features.pooling import Frames
from features.spec import BackboneSpec

MODEL_CLASSES = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "wavlm": "WavLMModel",
    "data2vec-audio": "Data2VecAudioModel",
    "unispeech": "UniSpeechModel",
    "unispeech-sat": "UniSpeechSatModel",
}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "conv_dim": (64,) * 7,
        "num_conv_pos_embedding_groups": 4,
    },
    "base": {},
    "large": _LARGE,
    "large-stable": {**_LARGE, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}
DEFAULT_SAMPLE_RATE = 16_000
NORMALIZE_EPSILON = 1e-7  # as Wav2Vec2FeatureExtractor


class Options(BackboneOptions):
    """An entry of `features.backbones` for any Wav2Vec2-like encoder."""

    weights: str = Field(description="hub id `org/name[@revision]`, folder from `save_pretrained`, or `random`")
    model_type: str = Field("wav2vec2", description="for `random`: which architecture")
    size: str = Field("base", description=f"for `random`: one of {', '.join(SIZES)}")
    seed: int = Field(0, ge=0, description="for `random`: seed of the weights")
    normalize: bool | None = Field(None, description="zero mean, unit variance per clip; None: as the folder says")


def summary(options: Any) -> dict[str, Any]:
    """What `audioheads backbones ls` shows."""
    return {
        "weights": getattr(options, "weights", "hub id, folder or random"),
        "sample_rate_hz": DEFAULT_SAMPLE_RATE,
        "summary": f"{getattr(options, 'model_type', 'wav2vec2')} encoder, every layer",
    }


def describe(options: Options) -> BackboneSpec:
    """The spec, with weights found and hashed but not loaded.

    Raises:
        ConfigError: Unknown size or architecture.
        WeightsError: The weights cannot be had.
    """
    if options.weights == found.RANDOM:
        config = _random_config(options)
        digest = found.text_sha256({"random": options.seed, "config": _plain(config)})
        normalize, sample_rate, stated = True, DEFAULT_SAMPLE_RATE, True
    else:
        folder = found.find_model_folder(options.name, options.weights)
        config = _folder_config(options.name, folder)
        digest = found.folder_sha256(folder)
        normalize, sample_rate, stated = _preprocessing(folder)
    kernels, strides = config.conv_kernel, config.conv_stride
    receptive_field, hop = 1, 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        receptive_field = (receptive_field - 1) * stride + kernel
    for stride in strides:
        hop *= stride
    return BackboneSpec(
        name=options.name,
        family="wav2vec2",
        weights=options.weights,
        weights_sha256=digest,
        sample_rate=sample_rate,
        layers=tuple(range(config.num_hidden_layers + 1)),
        dim=config.hidden_size,
        frame_rate=sample_rate / hop,
        min_duration_s=receptive_field / sample_rate,
        max_duration_s=options.max_duration_s,
        settings={
            "model_type": config.model_type,
            "config_sha256": found.text_sha256(_plain(config)),
            "normalize": normalize if options.normalize is None else options.normalize,
            "normalize_assumed": options.normalize is None and not stated,
        },
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> Wav2Vec2Backbone:
    """Build the network and load its weights.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    with _quiet_transformers():
        if options.weights == found.RANDOM:
            config = _random_config(options)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(options.seed)
                module = _model_class(config.model_type)(config)
        else:
            module = _load_folder(options.name, found.find_model_folder(options.name, options.weights))
    return Wav2Vec2Backbone(module.eval(), spec, torch.device(device), check_precision(precision))


class Wav2Vec2Backbone(Backbone):
    """A Hugging Face encoder run layer by layer with every padding leak closed."""

    def __init__(self, module: nn.Module, spec: BackboneSpec, device: torch.device, dtype: torch.dtype) -> None:
        """Take over an encoder; `dtype` is that of its matrix products."""
        self.spec = spec
        self.device = device
        self.dtype = dtype
        self.module = module.to(device)
        if dtype != torch.float32:
            for part in module.modules():
                if isinstance(part, nn.Linear | nn.Conv1d) and not hasattr(part, "parametrizations"):
                    part.to(dtype)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; layer 0 is the transformer's input, the last its normed output."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.spec.settings["normalize"]:
                waveforms = normalize(waveforms, lengths)
            features, frame_counts = self._convolve(waveforms, lengths.tolist())
            projected = self.module.feature_projection(features.transpose(1, 2))  # [B, F, D]
            hidden = projected[0] if isinstance(projected, tuple) else projected
            layers = self._encode(hidden, frame_counts)
        return Frames(torch.stack(layers, dim=1), torch.tensor(frame_counts))

    def _convolve(self, waveforms: Tensor, lengths: list[int]) -> tuple[Tensor, list[int]]:
        """The convolutional feature encoder: features (B, C, F) and the valid frames of each clip."""
        hidden = waveforms[:, None]  # [B, 1, T]
        for layer in self.module.feature_extractor.conv_layers:
            hidden = layer.conv(hidden)
            kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
            lengths = [(length - kernel) // stride + 1 for length in lengths]
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                hidden = masked_group_norm(hidden, lengths, norm)
            elif norm is not None:
                hidden = norm(hidden.transpose(1, 2)).transpose(1, 2)
            hidden = layer.activation(hidden)
        return hidden, lengths

    def _encode(self, hidden: Tensor, frame_counts: list[int]) -> list[Tensor]:
        """The transformer: the input of its first layer, then every layer's output, each (B, F, D)."""
        encoder = self.module.encoder
        config = self.module.config
        stable = getattr(config, "do_stable_layer_norm", False)
        mask = _frame_mask(hidden, frame_counts)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[:, :, None], 0.0)
        hidden = hidden + self._positions(hidden, mask)
        if not stable:
            hidden = encoder.layer_norm(hidden)
        outputs = [hidden]
        is_wavlm = config.model_type == "wavlm"
        bias: dict[str, Any] = {}
        attention_mask = mask if mask is None or is_wavlm else mask[:, None, None, :]
        with warnings.catch_warnings():
            # WavLM hands torch a boolean padding mask beside its float position bias
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            for layer in encoder.layers:
                hidden = layer(hidden, attention_mask=attention_mask, **bias)
                if is_wavlm:
                    hidden, bias["position_bias"] = hidden
                outputs.append(hidden)
        if stable:
            outputs[-1] = encoder.layer_norm(hidden)
        return outputs

    def _positions(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """The positional convolution, seeing zeros wherever a clip alone would see the end of its input."""
        embed = self.module.encoder.pos_conv_embed
        stack: Any = getattr(embed, "layers", None)
        norm: Any = getattr(embed, "batch_norm", None)
        if mask is None or (stack is None and norm is None):
            return embed(hidden)
        positions = hidden.transpose(1, 2)  # [B, D, F]
        if stack is None:  # HuBERT's batch norm turns the zeros of the padding into something else
            positions = norm(positions).masked_fill(~mask[:, None], 0.0)
            return embed.activation(embed.padding(embed.conv(positions))).transpose(1, 2)
        for layer in stack:  # so does each of Data2Vec's convolutions
            positions = layer(positions).masked_fill(~mask[:, None], 0.0)
        return positions.transpose(1, 2)


def normalize(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Zero mean and unit variance of each clip over its valid samples; padding becomes 0. (B, T) to (B, T)."""
    rows = []
    for waveform, length in zip(waveforms.float(), lengths.tolist(), strict=True):
        valid = waveform[:length]
        variance, mean = torch.var_mean(valid, correction=0)
        rows.append(F.pad((valid - mean) / torch.sqrt(variance + NORMALIZE_EPSILON), (0, len(waveform) - length)))
    return torch.stack(rows)


def masked_group_norm(hidden: Tensor, lengths: list[int], norm: nn.GroupNorm) -> Tensor:
    """Group norm of each clip over its valid frames alone. (B, C, F) to (B, C, F), padding 0."""
    longest = hidden.shape[2]
    if min(lengths) == longest:
        return norm(hidden)
    rows = [norm(hidden[i : i + 1, :, :n]) for i, n in enumerate(lengths)]
    return torch.cat([F.pad(row, (0, longest - row.shape[2])) for row in rows])


def _frame_mask(hidden: Tensor, frame_counts: list[int]) -> Tensor | None:
    """(B, F) bool, True at valid frames; None where nothing is padded."""
    longest = hidden.shape[1]
    if min(frame_counts) == longest:
        return None
    counts = torch.tensor(frame_counts).to(hidden.device, non_blocking=True)
    return torch.arange(longest, device=hidden.device)[None, :] < counts[:, None]


def _config_class(model_type: str) -> Any:
    """The transformers configuration of an architecture."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in MODEL_CLASSES:
        known = ", ".join(MODEL_CLASSES)
        raise ConfigError(f"model type {model_type!r} is not a Wav2Vec2-like encoder: known are {known}")
    return CONFIG_MAPPING[model_type]


def _model_class(model_type: str) -> Any:
    """The transformers class of an architecture."""
    import transformers

    return getattr(transformers, MODEL_CLASSES[model_type])


def _random_config(options: Options) -> Any:
    """The architecture of untrained weights."""
    if options.size not in SIZES:
        raise ConfigError(f"{options.name}: unknown size {options.size!r}: use one of {', '.join(SIZES)}")
    return _config_class(options.model_type)(**SIZES[options.size])


def _folder_config(name: str, folder: Path) -> Any:
    """The architecture that a folder's `config.json` states."""
    plain = found.read_config(folder)
    config = _config_class(str(plain.get("model_type"))).from_dict(plain)
    if getattr(config, "add_adapter", False):
        raise WeightsError(f"{name}: {folder} has a convolutional adapter on top (add_adapter), which is not supported")
    return config


def _plain(config: Any) -> dict[str, Any]:
    """A config as JSON values, without what does not change a value."""
    return {k: v for k, v in json.loads(config.to_json_string()).items() if k not in found.VOLATILE_CONFIG_KEYS}


def _preprocessing(folder: Path) -> tuple[bool, int, bool]:
    """Whether to normalise, the sample rate in Hz, and whether the folder says so."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return True, DEFAULT_SAMPLE_RATE, False
    stated = json.loads(path.read_text())
    return bool(stated.get("do_normalize", True)), int(stated.get("sampling_rate", DEFAULT_SAMPLE_RATE)), True


def _load_folder(name: str, folder: Path) -> nn.Module:
    """The encoder in a `save_pretrained` folder; every one of its own tensors must be there and fit."""
    config = _folder_config(name, folder)
    try:
        module, report = _model_class(config.model_type).from_pretrained(
            folder, config=config, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:
        raise WeightsError(f"{name}: {folder} does not fit the architecture ({found.first_line(error)})") from error
    missing = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})
    mismatched = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get("mismatched_keys", ()))
    if missing or mismatched:
        what = f"{missing[0]!r} is missing" if missing else f"{mismatched[0]!r} has another shape"
        raise WeightsError(f"{name}: {folder} does not fit the architecture: {what}")
    return module


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers from printing while it loads."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
