"""As Bird-MAE's feature extractor: takes no sample rate, returns the tensor alone; 5 s, padded with silence."""

import numpy as np
import torch
from torchaudio.compliance.kaldi import fbank
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor


class BirdMAEFeatureExtractor(SequenceFeatureExtractor):
    def __init__(
        self,
        feature_size=1,
        sampling_rate=32000,
        padding_value=0.0,
        num_mel_bins=128,
        target_length=512,
        mean=-7.2,
        std=4.43,
        **kwargs,
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.num_mel_bins, self.target_length, self.mean, self.std = num_mel_bins, target_length, mean, std

    def __call__(self, waveform_batch, return_tensors=None):
        clips = torch.from_numpy(np.atleast_2d(waveform_batch)).float()[:, : 5 * self.sampling_rate]
        clips = torch.nn.functional.pad(clips, (0, 5 * self.sampling_rate - clips.shape[1]))
        banks = [
            fbank(
                clip[None],
                htk_compat=True,
                sample_frequency=self.sampling_rate,
                use_energy=False,
                window_type="hanning",
                num_mel_bins=self.num_mel_bins,
                dither=0.0,
                frame_shift=10,
            )
            for clip in clips
        ]
        values = torch.stack(banks)
        missing = self.target_length - values.shape[1]
        values = torch.nn.functional.pad(values, (0, 0, 0, missing), value=values.min().item())
        return ((values - self.mean) / (2 * self.std))[:, None]
