"""Divide recordings of background over training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.errors import ConfigError
from pipeline.config.schema import BackgroundPart

SHARES: dict[BackgroundPart, float] = {"train": 0.6, "valid": 0.2, "test": 0.2}
"""Fraction of the audio that a part gets, among the parts that there are."""


def divide(hours: np.ndarray, parts: Sequence[BackgroundPart], seed: int) -> list[BackgroundPart]:
    """Give each recording to one part, so that no recording is in two.

    In a random order, the first recordings go to one part each, and every other one to the part that lacks the most.

    Args:
        hours: Length of each recording in hours, shape (G,).
        parts: The parts.
        seed: Seed of the order.

    Returns:
        The part of each recording.

    Raises:
        ConfigError: There are fewer recordings than parts.
    """
    if len(hours) < len(parts):
        raise ConfigError(
            f"background_in: recordings are kept whole, so {', '.join(parts)} need {len(parts)} recordings, and "
            f"background has {len(hours)}; give more files, or remove background_in"
        )
    whole = sum(SHARES[part] for part in parts)
    missing = {part: SHARES[part] / whole * float(hours.sum()) for part in parts}
    found: list[BackgroundPart] = ["test"] * len(hours)
    for number, recording in enumerate(np.random.default_rng([seed, len(parts)]).permutation(len(hours)).tolist()):
        part = parts[number] if number < len(parts) else max(parts, key=lambda one: missing[one])
        found[recording] = part
        missing[part] -= float(hours[recording])
    return found
