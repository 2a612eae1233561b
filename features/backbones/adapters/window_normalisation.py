"""Normalisation of each input window, for models whose training did it outside of their graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, model_validator

if TYPE_CHECKING:
    import numpy as np


class WindowOptions(BaseModel):
    """What is done to the samples of each window, or of each clip for a model that takes clips of any length.

    Perch 2, for example, was trained on windows without their mean, scaled to a peak of 0.25 (`normalize_audio` of
    perch-hoplite): `window_mean: remove`, `window_peak: 0.25`.
    """

    window_mean: Literal["keep", "remove"] = Field("keep", description="whether the mean of each window is subtracted")
    window_peak: float | None = Field(None, gt=0, description="each window is scaled to this largest absolute value")
    window_rms: float | None = Field(None, gt=0, description="each window is scaled to this root mean square")

    @model_validator(mode="after")
    def _one_scale(self) -> WindowOptions:
        if self.window_peak is not None and self.window_rms is not None:
            raise ValueError("window_peak and window_rms scale the same window; set one of them")
        return self

    def window_settings(self) -> dict[str, Any]:
        """Return what differs from the default, for the `settings` of a spec."""
        fields = WindowOptions.model_fields
        return {key: value for key in fields if (value := getattr(self, key)) != fields[key].default}


def normalise_windows(windows: np.ndarray, options: WindowOptions) -> np.ndarray:
    """Subtract the mean of each window, then scale it; a window of silence stays silent.

    An incomplete window includes its padding, as in the frameworks that cut windows first.

    Args:
        windows: (W, T) float32.
        options: What to do.

    Returns:
        Windows (W, T) float32; `windows` itself is not changed.
    """
    import numpy as np

    if options.window_mean == "remove":
        windows = windows - windows.mean(axis=1, keepdims=True)
    if options.window_peak is not None:
        level, target = np.abs(windows).max(axis=1, keepdims=True), options.window_peak
    elif options.window_rms is not None:
        level, target = np.sqrt(np.square(windows).mean(axis=1, keepdims=True)), options.window_rms
    else:
        return windows
    factors = np.divide(target, level, out=np.zeros_like(level), where=level > 0)
    return windows * factors
