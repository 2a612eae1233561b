"""Feature extractors of transformers as batched torch modules, computed on the device of the encoder.

Each gives what the extractor of the same name gives for one clip alone. `front_end_of` compares the two on noise before
it uses a module, so that a setting that a module does not know leads to the extractor itself, not to other values.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.networks.kaldi_filter_bank import KaldiFilterBank, torchaudio_filter_bank

TOLERANCE = 1e-4  # of an input's values, which are normalised or logarithms
INT16_SCALE = 2.0**15  # Kaldi's range of samples
NORM_EPS = 1e-7
SEAMLESS_HOP = 160
WHISPER_FLOOR, WHISPER_RANGE = 1e-10, 8.0  # log10
CLAP_FLOOR = 1e-10

Inputs = list[tuple[list[int], dict[str, Tensor]]]
"""Groups of a batch's rows with the arguments of the encoder's `forward` for these rows, all of one shape."""


class FrontEnd(nn.Module):
    """A feature extractor for padded batches."""

    @abstractmethod
    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """Prepare a batch.

        Args:
            waveforms: (B, T) on the module's device; samples beyond a clip's length are ignored.
            lengths: Valid samples of each clip.

        Returns:
            The inputs of the encoder by groups of rows.
        """


class Ast(FrontEnd):
    """`ASTFeatureExtractor`: Kaldi's filter banks, padded with zeros or truncated to `max_length` frames."""

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.filter_bank = torchaudio_filter_bank(extractor.sampling_rate, extractor.num_mel_bins)
        self.max_length = extractor.max_length
        self.mean = float(extractor.mean) if extractor.do_normalize else 0.0
        self.scale = 2 * float(extractor.std) if extractor.do_normalize else 1.0

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        counts = [self.filter_bank.n_frames(length) for length in lengths]
        values = self.filter_bank(waveforms)[:, : self.max_length]  # [B, F, D]
        values = values.masked_fill(~_inside(counts, values.shape[1], values.device)[..., None], 0.0)
        values = F.pad(values, (0, 0, 0, self.max_length - values.shape[1]))
        return [(list(range(len(lengths))), {"input_values": (values - self.mean) / self.scale})]


class SeamlessM4T(FrontEnd):
    """`SeamlessM4TFeatureExtractor` (Wav2Vec2-BERT): filter banks, normalised by band, two frames joined to one.

    A clip with an odd number of frames is padded; the encoder masks the joined frame that ends in padding.
    """

    stride = 2

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        if extractor.stride != self.stride:
            raise ValueError(f"stride {extractor.stride}: the mask of joined frames is known for 2 only")
        window = torch.from_numpy(extractor.window)
        self.filter_bank = KaldiFilterBank(extractor.mel_filters, window, SEAMLESS_HOP, INT16_SCALE)
        self.padding_value = extractor.padding_value

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        values = self.filter_bank(waveforms)
        groups: Inputs = []
        for count, rows in _groups([self.filter_bank.n_frames(length) for length in lengths]).items():
            part = torch.stack([values[row, :count] for row in rows])  # [b, F, D]
            part = (part - part.mean(1, keepdim=True)) / (part.var(1, keepdim=True) + NORM_EPS).sqrt()
            part = F.pad(part.float(), (0, 0, 0, -count % self.stride), value=self.padding_value)
            inputs = {"input_features": part.unflatten(1, (-1, self.stride)).flatten(2)}  # [b, F / 2, 2 D]
            if part.shape[1] > count:  # the last joined frame ends in padding
                mask = torch.ones(inputs["input_features"].shape[:2], dtype=torch.int32, device=part.device)
                mask[:, -1] = 0
                inputs["attention_mask"] = mask
            groups.append((rows, inputs))
        return groups


class Wav2Vec2(FrontEnd):
    """`Wav2Vec2FeatureExtractor`: the samples, normalised over the clip on request; clips of one length together."""

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.normalize = extractor.do_normalize

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        groups: Inputs = []
        for length, rows in _groups(lengths).items():
            part = torch.stack([waveforms[row, :length] for row in rows])  # [b, T]
            if self.normalize:
                variance, mean = torch.var_mean(part, 1, correction=0, keepdim=True)
                part = (part - mean) / (variance + NORM_EPS).sqrt()
            groups.append((rows, {"input_values": part}))
        return groups


class Codec(FrontEnd):
    """`EncodecFeatureExtractor` and `DacFeatureExtractor`: the samples as one channel; clips of one length together.

    DAC's fills a clip with zeros to a multiple of its hop.
    """

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.hop = getattr(extractor, "hop_length", 1)

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        groups: Inputs = []
        for size, rows in _groups([-(-length // self.hop) * self.hop for length in lengths]).items():
            part = torch.stack([waveforms[row] for row in rows])
            part = _silent_beyond(part, [lengths[row] for row in rows], size)
            groups.append((rows, {"input_values": part[:, None]}))  # [b, 1, T]
        return groups


class Whisper(FrontEnd):
    """`WhisperFeatureExtractor`: log-mels of the clip padded with silence to `n_samples`, at most 80 dB deep."""

    bank: Tensor
    window: Tensor

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.n_fft, self.hop, self.n_samples = extractor.n_fft, extractor.hop_length, extractor.n_samples
        self.register_buffer("bank", torch.from_numpy(extractor.mel_filters).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`. Frames of silence alone are not computed: their value is known."""
        lengths = [min(length, self.n_samples) for length in lengths]
        total = self.n_samples // self.hop
        # frames that reach a sample of the longest clip, and the samples under them
        computed = min(total, (max(lengths) + self.n_fft // 2) // self.hop + 1)
        samples = _silent_beyond(waveforms, lengths, self.n_samples)
        samples = F.pad(samples[:, None], (self.n_fft // 2,) * 2, mode="reflect")[:, 0]
        frames = samples.unfold(1, self.n_fft, self.hop)[:, :computed] * self.window  # [B, F, n_fft]
        power = torch.fft.rfft(frames).abs().square() @ self.bank  # [B, F, D]
        log = power.clamp(min=WHISPER_FLOOR).log10()
        log = F.pad(log, (0, 0, 0, total - computed), value=math.log10(WHISPER_FLOOR))
        log = torch.maximum(log, log.amax((1, 2), keepdim=True) - WHISPER_RANGE)
        return [(list(range(len(lengths))), {"input_features": ((log + 4) / 4).transpose(1, 2).contiguous()})]


class Clap(FrontEnd):
    """`ClapFeatureExtractor`: log-mels of the clip repeated, or padded with silence, to the model's window.

    Clips longer than the window never arrive here: they come in windows.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.fused = extractor.truncation == "fusion"
        self.repeats, self.truncated = extractor.padding != "pad", extractor.padding == "repeat"
        self.n_fft, self.hop, self.n_samples = (
            extractor.fft_window_size,
            extractor.hop_length,
            int(extractor.nb_max_samples),
        )
        bank = extractor.mel_filters if self.fused else extractor.mel_filters_slaney
        self.register_buffer("bank", torch.from_numpy(bank).double(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft, dtype=torch.float64), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        samples = F.pad(self._filled(waveforms, lengths)[:, None], (self.n_fft // 2,) * 2, mode="reflect")[:, 0]
        frames = samples.unfold(1, self.n_fft, self.hop).to(self.window.dtype) * self.window  # [B, F, n_fft]
        power = torch.fft.rfft(frames).abs().square() @ self.bank
        decibels = (10 * power.clamp(min=CLAP_FLOOR).log10()).float()[:, None]  # [B, 1, F, D]
        if not self.fused:
            return [(list(range(len(lengths))), {"input_features": decibels, **self._is_longer(decibels, False)})]
        inputs = {"input_features": decibels.expand(-1, 4, -1, -1), **self._is_longer(decibels, True)}
        return [(list(range(len(lengths))), inputs)]

    def _filled(self, waveforms: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return the clips (B, n_samples), repeated or padded with silence."""
        if not self.repeats:
            return _silent_beyond(waveforms, lengths, self.n_samples)
        ends = [self.n_samples if self.truncated else self.n_samples // length * length for length in lengths]
        positions = torch.arange(self.n_samples, device=waveforms.device)[None]
        positions = positions % torch.tensor(lengths).to(waveforms.device, non_blocking=True)[:, None]
        return _silent_beyond(waveforms.gather(1, positions), ends, self.n_samples)

    @staticmethod
    def _is_longer(values: Tensor, longer: bool) -> dict[str, Tensor]:
        """Return the flag that the extractor sets for one clip alone: a fused model gets at least one such clip."""
        return {"is_longer": torch.full((len(values), 1), longer, device=values.device)}


FRONT_ENDS: Mapping[str, Callable[[Any], FrontEnd]] = {
    "ASTFeatureExtractor": Ast,
    "ClapFeatureExtractor": Clap,
    "DacFeatureExtractor": Codec,
    "EncodecFeatureExtractor": Codec,
    "SeamlessM4TFeatureExtractor": SeamlessM4T,
    "Wav2Vec2FeatureExtractor": Wav2Vec2,
    "WhisperFeatureExtractor": Whisper,
}


def front_end_of(
    extractor: Any, prepare: Callable[[np.ndarray], Mapping[str, Tensor]], device: torch.device
) -> FrontEnd | None:
    """Return the module that replaces a feature extractor, or None if there is none or it gives other values.

    The modules compute in the type of the extractor they replace, float64 for those in numpy, but in float32 on devices
    without float64.

    Args:
        extractor: A feature extractor of transformers.
        prepare: Runs the extractor on one clip (T,) and returns the arguments of the encoder, one row each.
        device: Where the module is to run.
    """
    build = FRONT_ENDS.get(type(extractor).__name__)
    if build is None:
        return None
    rate = int(extractor.sampling_rate)
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    clips = [noise, noise[: rate // 3]]
    try:
        front_end = build(extractor).requires_grad_(False).eval()
        batch = nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
        with torch.inference_mode():
            groups = front_end(batch, [len(clip) for clip in clips])
        same = all(
            _same({key: value[at : at + 1] for key, value in inputs.items()}, prepare(clips[row]))
            for rows, inputs in groups
            for at, row in enumerate(rows)
        )
    except Exception:  # a setting that the module does not know
        return None
    if not same:
        return None
    return (front_end.float() if device.type == "mps" else front_end).to(device)


def _same(values: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Return whether two sets of inputs are equal within `TOLERANCE`."""
    return values.keys() == expected.keys() and all(
        value.shape == expected[key].shape
        and torch.allclose(value.double(), expected[key].double(), rtol=0, atol=TOLERANCE)
        for key, value in values.items()
    )


def _groups(numbers: Sequence[int]) -> dict[int, list[int]]:
    """Return the positions of each number."""
    groups: dict[int, list[int]] = {}
    for at, number in enumerate(numbers):
        groups.setdefault(number, []).append(at)
    return groups


def _inside(counts: Sequence[int], size: int, device: torch.device) -> Tensor:
    """Return a mask (B, size) of positions below each row's count."""
    return torch.arange(size, device=device)[None] < torch.tensor(counts).to(device, non_blocking=True)[:, None]


def _silent_beyond(waveforms: Tensor, lengths: Sequence[int], size: int) -> Tensor:
    """Return waveforms (B, size) that are zero beyond each clip's length."""
    waveforms = waveforms[:, :size].float()
    waveforms = waveforms.masked_fill(~_inside(lengths, waveforms.shape[1], waveforms.device), 0.0)
    return F.pad(waveforms, (0, size - waveforms.shape[1]))
