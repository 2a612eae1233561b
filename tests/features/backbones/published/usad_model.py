"""As USAD's network: takes waveforms, computes Kaldi's filter bank itself, returns its states in a dictionary."""

import torch
from torch import nn
from torchaudio.compliance.kaldi import fbank

from .blocks import Block


@torch.no_grad()
def wav_to_fbank(wavs, mel_dim=128, norm_mean=-4.268, norm_std=4.569):
    wavs = wavs - wavs.mean(dim=-1, keepdim=True)
    banks = [
        fbank(
            wav[None],
            htk_compat=True,
            sample_frequency=16000,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=mel_dim,
            dither=0.0,
            frame_shift=10,
        )
        for wav in wavs
    ]
    return (torch.stack(banks) - norm_mean) / (norm_std * 2)


class UsadModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.subsample = nn.Linear(2 * cfg.input_dim, cfg.encoder_dim)
        self.layers = nn.ModuleList(Block(cfg.encoder_dim, cfg.num_attention_heads) for _ in range(cfg.num_layers))

    def forward(self, wavs):
        mel = wav_to_fbank(wavs, self.cfg.input_dim)
        x = self.subsample(mel[:, : mel.shape[1] // 2 * 2].unflatten(1, (-1, 2)).flatten(2))
        states = []
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        return {"x": x, "mel": mel, "hidden_states": states, "ffn": [state * 0.5 for state in states]}
