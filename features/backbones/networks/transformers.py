"""Forward pass of transformers' audio encoders: inputs of equal shape are batched.

A clip's input never depends on other clips, so batches need no extra masks. A feature extractor's padding (Whisper to
30 s, AST to 1,024 frames) is the same for each clip. Only frames that cover the clip are returned.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.backbones.adapters.encoder_interface import InterfacedEncoder
from features.backbones.adapters.equal_length import SHORTEST_S
from features.backbones.adapters.masked_encoder import MASKED, MaskedEncoder
from features.backbones.base import Backbone
from features.backbones.loading.import_paths import described
from features.backbones.networks.codecs import CODECS, CodecEncoder, hop_of
from features.backbones.networks.front_ends import front_end_of
from features.backbones.networks.front_ends.interface import Inputs
from features.backbones.networks.host_waits import wait_never
from features.backbones.options import EncoderInterface
from features.errors import ConfigError, RunError, UserError
from features.pooling import Frames
from features.spec import BackboneSpec
from features.system.device_errors import is_device_failure
from features.system.out_of_memory import is_out_of_memory

AST = "audio-spectrogram-transformer"
WHISPER = "whisper"
AST_SPECIAL = 2  # class and distillation tokens, before the patches
AST_WINDOW_S, AST_HOP_S = 0.025, 0.01  # as in Kaldi's filter banks
CLAP = ("clap", "clap_audio_model")
LONG_S = 10.0


@dataclass(frozen=True)
class EncoderShape:
    """Input lengths and output shape of an encoder.

    Attributes:
        n_layers: L.
        dim: D.
        frame_rate: Frames per second.
        min_samples: The shortest clip that it takes, in samples.
        max_samples: The longest clip that is not truncated, in samples; None: no limit.
    """

    n_layers: int
    dim: int
    frame_rate: float
    min_samples: int
    max_samples: int | None


class TransformersBackbone(Backbone):
    """An encoder and its feature extractor; gradients reach the network, not the waveform."""

    def __init__(
        self, module: Any, extractor: Any, spec: BackboneSpec, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Wrap an encoder; `dtype` is the type of its matrix products."""
        self.spec = spec
        self.device = device
        self.dtype = dtype
        self.module = module.to(device)
        wait_never(self.module.encoder if isinstance(self.module, CodecEncoder | MaskedEncoder) else self.module)
        self._extractor = extractor
        on_host = partial(prepare, extractor, module)
        self._front_end = front_end_of(extractor, on_host, device, masked=isinstance(module, MaskedEncoder))
        if self._front_end is None:
            self.prepare = on_host

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; the last layer is the encoder's normed output."""
        if self._front_end is None:
            clips = [wave[:n].detach().cpu().numpy() for wave, n in zip(waveforms, lengths.tolist(), strict=True)]
            return self.forward_prepared([prepare(self._extractor, self.module, clip) for clip in clips], lengths)
        with self.measure("front end"):
            inputs = self._front_end(waveforms.detach(), lengths.tolist())
        return self._encoded(inputs, lengths)

    def forward_prepared(self, inputs: Sequence[dict[str, Tensor]], lengths: Tensor) -> Frames:
        """See `Backbone.forward_prepared`; inputs of equal shape are batched."""
        groups: dict[Any, list[int]] = {}
        for row, each in enumerate(inputs):
            groups.setdefault(tuple((key, value.shape) for key, value in sorted(each.items())), []).append(row)
        together = [
            (rows, {key: self._moved([inputs[row][key] for row in rows]) for key in inputs[rows[0]]})
            for rows in groups.values()
        ]
        return self._encoded(together, lengths)

    def _moved(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return tensors of one row each as one on the device; the host does not wait for the copy."""
        joined = torch.cat(list(tensors))
        return (joined.pin_memory() if self.device.type == "cuda" else joined).to(self.device, non_blocking=True)

    def _encoded(self, groups: Inputs, lengths: Tensor) -> Frames:
        """Encode groups of prepared clips."""
        counts = lengths.tolist()
        frames: dict[int, Tensor] = {}
        embedding = self.spec.settings["embedding"]
        for rows, inputs in groups:
            try:
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                    values = encode(self.module, inputs, embedding)  # [b, L, F, D]
            except Exception as error:
                if is_out_of_memory(error) or is_device_failure(error):
                    raise
                raise RunError(f"{self.spec.title}: the encoder fails with {described(error)}") from error
            for row, value in zip(rows, values, strict=True):
                count = valid_frames(self.module, self._extractor, counts[row], value.shape[1])
                frames[row] = value[:, :count].transpose(0, 1)  # [F, L, D]
        ordered = [frames[row] for row in range(len(counts))]
        values = nn.utils.rnn.pad_sequence(ordered, batch_first=True).transpose(1, 2)
        weights = None
        if embedding == "pooled" or _is_clap(self.module):  # weight vectors of windows by the windows' length
            weights = (lengths.float() / self.spec.max_samples)[:, None].to(values.device, non_blocking=True)
        return Frames(values, torch.tensor([len(clip) for clip in ordered]), weights)


def prepare(extractor: Any, module: Any, clip: np.ndarray) -> dict[str, Tensor]:
    """Run the feature extractor on one clip (T,); return the arguments of the encoder's `forward`, one row each."""
    taken = inspect.signature(module.forward).parameters
    inputs = extracted(extractor, clip, next(iter(taken)), masked=isinstance(module, MaskedEncoder))
    given = {key: value for key, value in inputs.items() if key in taken}
    mask = given.get("attention_mask")
    if mask is not None and bool(mask.all()):  # nothing is padded
        del given["attention_mask"]
    return given


def extracted(extractor: Any, clip: np.ndarray, name: str, masked: bool = False) -> Mapping[str, Tensor]:
    """Run a feature extractor on one clip (T,).

    Extractors of published code, such as Bird-MAE's, may take no sample rate and may return the tensor alone; `name` is
    then its name. `masked` asks for the mask of its padding.
    """
    takes_rate = "sampling_rate" in inspect.signature(extractor.__call__).parameters
    options = {"sampling_rate": extractor.sampling_rate} if takes_rate else {}
    options |= {"return_attention_mask": True} if masked else {}
    inputs = extractor(clip, **options, return_tensors="pt")
    return {name: inputs} if isinstance(inputs, Tensor) else inputs


def encode(module: Any, inputs: Mapping[str, Tensor], embedding: str) -> Tensor:
    """Encode inputs of one shape to (B, L, F, D): every hidden state with the output's shape, then the output."""
    if _is_clap(module):
        return module(**inputs).pooler_output.float()[:, None, None]
    if module.config.model_type in CODECS:
        return module(**inputs).float()[:, None]
    output = module(**inputs, output_hidden_states=True)
    last = output.last_hidden_state
    states = [state for state in (output.hidden_states or ())[:-1] if state.shape == last.shape]
    values = torch.stack([*states, last], dim=1).float()
    if module.config.model_type == AST:
        if embedding == "pooled":
            return values[:, :, :AST_SPECIAL].mean(2, keepdim=True)
        bands, steps = _ast_grid(module.config)
        return values[:, :, AST_SPECIAL:].unflatten(2, (bands, steps)).mean(2)
    return values


def valid_frames(module: Any, extractor: Any, n_samples: int, n_frames: int) -> int:
    """Return the number of an encoder's frames that cover the clip rather than the feature extractor's padding."""
    if n_frames == 1 or _is_clap(module):
        return n_frames
    if isinstance(module, MaskedEncoder):
        return min(n_frames, max(1, module.count_frames(math.ceil(n_samples / extractor.hop_length))))
    rate = extractor.sampling_rate
    analysed = max(0, math.floor((n_samples - AST_WINDOW_S * rate) / (AST_HOP_S * rate)) + 1)
    if _pads_as_ast(module, extractor):
        return min(n_frames, max(1, analysed * n_frames // extractor.max_length))
    if module.config.model_type == AST:
        patches = (analysed - module.config.patch_size) // module.config.time_stride + 1
        return min(n_frames, max(1, patches))
    padded_to = getattr(extractor, "n_samples", None) if module.config.model_type == WHISPER else None
    return n_frames if padded_to is None else min(n_frames, math.ceil(n_frames * n_samples / padded_to))


def audio_encoder(
    whole: nn.Module, part: str, interface: EncoderInterface | None = None, embedding: str = "frames"
) -> Any:
    """Return the audio encoder of a whole model: its submodule `part`, or the model itself if that is empty.

    With an interface, it is called as the interface states.

    Raises:
        ValueError: There is no such submodule, or it has no such method.
    """
    try:
        module: Any = whole.get_submodule(part)
    except AttributeError:
        raise ValueError(f"interface.part: {type(whole).__name__} has no submodule {part!r}") from None
    config: Any = whole.config
    if interface is not None:
        return InterfacedEncoder(module, config, interface, pooled=embedding == "pooled")
    if getattr(getattr(module, "config", None), "model_type", None) in MASKED:
        return MaskedEncoder(module)
    return CodecEncoder(module, config) if config.model_type in CODECS else module


def shape_of(
    name: str,
    build: Callable[[], nn.Module],
    part: str,
    extractor: Any,
    embedding: str,
    interface: EncoderInterface | None = None,
) -> EncoderShape:
    """Measure an encoder's shape on the meta device, or with random weights if that fails.

    Args:
        name: The backbone, for messages.
        build: Builds the whole model.
        part: Name of the audio encoder's submodule.
        extractor: Its feature extractor.
        embedding: `frames` or `pooled`.
        interface: How frames are obtained, if not as from transformers' encoders.

    Raises:
        ConfigError: The encoder cannot embed audio, or has no such embedding.
    """
    for device in ("meta", "cpu"):
        try:
            with torch.device(device):
                whole = build()
        except UserError:
            raise
        except Exception as error:  # published code may read values of its tensors, which the meta device lacks
            if device == "cpu":
                raise ConfigError(f"{name}: its model cannot be built: {described(error)}") from error
            continue
        try:
            module = audio_encoder(whole, part, interface, embedding).eval()
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        kind, rate = module.config.model_type, int(extractor.sampling_rate)
        if _is_clap(module):
            longest = extractor.nb_max_samples
            return EncoderShape(1, module.config.hidden_size, rate / longest, rate // 10, longest)
        if kind in CODECS:
            return EncoderShape(1, module.config.hidden_size, rate / hop_of(module.config), rate // 10, None)
        if embedding == "pooled" and kind != AST and interface is None:
            raise ConfigError(f"{name}: embedding: pooled is for AST; {kind} has only frames")
        try:
            return _measured(module, extractor, embedding, device)
        except Exception as error:
            problem = error
    raise ConfigError(f"{name}: {kind} cannot embed audio with {type(extractor).__name__}: {described(problem)}")


def _measured(module: Any, extractor: Any, embedding: str, device: str) -> EncoderShape:
    """Measure the shape of an encoder's output for noise."""
    rate, kind = int(extractor.sampling_rate), module.config.model_type
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(LONG_S * rate)).astype(np.float32)

    def run(n_samples: int) -> tuple[int, int, int, int]:
        inputs = {key: value.to(device) for key, value in prepare(extractor, module, noise[:n_samples]).items()}
        with torch.inference_mode():
            values = encode(module, inputs, embedding)
        n_layers, n_frames, dim = values.shape[1:]
        return n_layers, n_frames, valid_frames(module, extractor, n_samples, n_frames), dim

    limit = module.max_samples(rate) if isinstance(module, InterfacedEncoder) else None
    noise = noise[:limit]
    n_layers, padded_frames, most, dim = run(len(noise))
    for seconds in SHORTEST_S:
        shortest = round(seconds * rate)
        try:
            least = run(shortest)[2]
            break
        except Exception:
            if seconds == SHORTEST_S[-1]:
                raise
    longest = limit
    if kind == AST or _pads_as_ast(module, extractor):
        longest = round((extractor.max_length - 1) * AST_HOP_S * rate + AST_WINDOW_S * rate)
    elif kind == WHISPER or isinstance(module, MaskedEncoder):
        longest = extractor.n_samples
    if most == least:
        frame_rate = most / LONG_S if longest is None else rate / longest
    elif _pads_as_ast(module, extractor):
        frame_rate = padded_frames / (AST_HOP_S * extractor.max_length)
    elif isinstance(module, MaskedEncoder):
        frame_rate = padded_frames * rate / extractor.n_samples
    elif kind == AST:
        frame_rate = 1 / (AST_HOP_S * module.config.time_stride)
    else:
        frame_rate = (most - least) * rate / (len(noise) - shortest)
    return EncoderShape(n_layers, dim, frame_rate, shortest, longest)


def _pads_as_ast(module: Any, extractor: Any) -> bool:
    """Return whether a model with an interface of its own gets AST's input: a filter bank padded to `max_length`."""
    return isinstance(module, InterfacedEncoder) and type(extractor).__name__ == "ASTFeatureExtractor"


def _is_clap(module: Any) -> bool:
    return module.config.model_type in CLAP


def _ast_grid(config: Any) -> tuple[int, int]:
    """Return the number of AST patches across frequency and across time."""
    return (
        (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1,
        (config.max_length - config.patch_size) // config.time_stride + 1,
    )
