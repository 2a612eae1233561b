"""openSMILE's Python package."""

import numpy as np

SETS = {"egemaps": "eGeMAPSv02", "compare2016": "ComParE_2016"}


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the functionals (1, 1, D) of each clip."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet[SETS[preset]], opensmile.FeatureLevel.Functionals)
    return [smile.process_signal(clip, sample_rate).to_numpy()[None] for clip in clips]
