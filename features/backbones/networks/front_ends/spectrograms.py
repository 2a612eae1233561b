"""Front ends that give an encoder a filter bank or log-mels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from features.backbones.networks.front_ends.interface import FrontEnd, Inputs, groups_of, inside, silent_beyond
from features.backbones.networks.kaldi_filter_bank import KaldiFilterBank, torchaudio_filter_bank

INT16_SCALE = 2.0**15  # Kaldi's range of samples
NORM_EPS = 1e-7
SEAMLESS_HOP = 160
WHISPER_FLOOR, WHISPER_RANGE = 1e-10, 8.0  # log10
CLAP_FLOOR = 1e-10


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
        values = values.masked_fill(~inside(counts, values.shape[1], values.device)[..., None], 0.0)
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
        for count, rows in groups_of([self.filter_bank.n_frames(length) for length in lengths]).items():
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
        samples = silent_beyond(waveforms, lengths, self.n_samples)
        samples = F.pad(samples[:, None], (self.n_fft // 2,) * 2, mode="reflect")[:, 0]
        frames = samples.unfold(1, self.n_fft, self.hop)[:, :computed] * self.window  # [B, F, n_fft]
        power = torch.fft.rfft(frames).abs().square() @ self.bank  # [B, F, D]
        log = power.clamp(min=WHISPER_FLOOR).log10()
        log = F.pad(log, (0, 0, 0, total - computed), value=math.log10(WHISPER_FLOOR))
        log = torch.maximum(log, log.amax((1, 2), keepdim=True) - WHISPER_RANGE)
        return [(list(range(len(lengths))), {"input_features": ((log + 4) / 4).transpose(1, 2).contiguous()})]


class MaskedWhisper(Whisper):
    """`WhisperFeatureExtractor` with its mask of the frames that begin inside the clip."""

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        ((rows, inputs),) = super().forward(waveforms, lengths)
        total = inputs["input_features"].shape[2]
        mask = inside([-(-length // self.hop) for length in lengths], total, waveforms.device)
        return [(rows, {**inputs, "attention_mask": mask.int()})]


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
            return silent_beyond(waveforms, lengths, self.n_samples)
        ends = [self.n_samples if self.truncated else self.n_samples // length * length for length in lengths]
        positions = torch.arange(self.n_samples, device=waveforms.device)[None]
        positions = positions % torch.tensor(lengths).to(waveforms.device, non_blocking=True)[:, None]
        return silent_beyond(waveforms.gather(1, positions), ends, self.n_samples)

    @staticmethod
    def _is_longer(values: Tensor, longer: bool) -> dict[str, Tensor]:
        """Return the flag that the extractor sets for one clip alone: a fused model gets at least one such clip."""
        return {"is_longer": torch.full((len(values), 1), longer, device=values.device)}
