"""As CED's feature extractor: log-mels of 64 bands in dB, each clip's at most 120 dB below its maximum."""

import numpy as np
import torch
import torchaudio.transforms as transforms
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature


class CedFeatureExtractor(SequenceFeatureExtractor):
    def __init__(
        self,
        f_min=0,
        sampling_rate=16000,
        win_size=512,
        center=True,
        n_fft=512,
        f_max=None,
        hop_size=160,
        feature_size=64,
        padding_value=0.0,
        **kwargs,
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.f_min, self.win_size, self.center, self.n_fft = f_min, win_size, center, n_fft
        self.f_max, self.hop_size = f_max, hop_size
        self.model_input_names = ["input_values"]

    def __call__(self, x, sampling_rate=None, return_tensors="pt"):
        mel = transforms.MelSpectrogram(
            f_min=self.f_min,
            sample_rate=sampling_rate or self.sampling_rate,
            win_length=self.win_size,
            center=self.center,
            n_fft=self.n_fft,
            f_max=self.f_max,
            hop_length=self.hop_size,
            n_mels=self.feature_size,
        )
        clips = torch.from_numpy(np.atleast_2d(x)).float()
        return BatchFeature({"input_values": transforms.AmplitudeToDB(top_db=120)(mel(clips))})
