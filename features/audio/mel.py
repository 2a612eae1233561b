"""Settings of mel spectrograms, shared by the backbone that computes them and the models that take them as input."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class MelOptions(BaseModel):
    """Settings of a mel spectrogram."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hz: int = Field(22_050, ge=1000, description="clips are resampled to this rate")
    n_fft: int = Field(2048, ge=2, description="samples of the analysis window (periodic Hann)")
    hop_length: int = Field(640, ge=1, description="samples from one frame to the next")
    n_mels: int = Field(128, ge=1, description="bands")
    f_min_hz: float = Field(0.0, ge=0, description="lowest edge of the bands")
    f_max_hz: float | None = Field(None, gt=0, description="highest edge of the bands; null: half the sample rate")
    mel_scale: Literal["htk", "slaney"] = Field(
        "htk", description="as in torchaudio, or as in librosa with its area norm"
    )
    scale: Literal["log", "power"] = Field("log", description="10·log10(power), or power itself")

    @model_validator(mode="after")
    def _fits(self) -> MelOptions:
        highest = self.sample_rate_hz / 2
        if self.f_max_hz is not None and not self.f_min_hz < self.f_max_hz <= highest:
            raise ValueError(f"f_max_hz should be above f_min_hz and at most {highest:g}, got {self.f_max_hz:g}")
        if self.hop_length > self.n_fft:
            raise ValueError(f"hop_length should be at most n_fft ({self.n_fft}), got {self.hop_length}")
        return self
