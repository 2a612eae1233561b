"""Summarise the audio of a manifest (lengths, rates, unreadable files) from a sample of the clips."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from features.audio.decoding import probe
from features.errors import AudioError, UserError
from features.manifest import Manifest

SAMPLE = 300  # clips whose headers are read


@dataclass(frozen=True)
class Audio:
    """Summary of the sampled clips.

    Attributes:
        median_s: Median length in seconds.
        shortest_s: Shortest length in seconds.
        longest_s: Longest length in seconds.
        total_s: Estimated length of all clips in seconds, from the mean of the sample.
        rate: The most common sample rate in Hz.
        rates: Number of different sample rates.
        looked_at: Number of sampled clips.
        unreadable: Number of sampled clips that cannot be read.
    """

    median_s: float
    shortest_s: float
    longest_s: float
    total_s: float
    rate: int
    rates: int
    looked_at: int
    unreadable: int


def look(manifest: Manifest) -> Audio:
    """Read the headers of a sample of clips, evenly spread over the manifest.

    Raises:
        UserError: No sampled clip can be read.
    """
    rows = np.unique(np.linspace(0, len(manifest) - 1, min(SAMPLE, len(manifest))).astype(int))
    lengths: list[float] = []
    rates: Counter[int] = Counter()
    reason = ""
    for row in rows.tolist():
        try:
            info = probe(manifest.path_of(row))
            start, stop = info.segment(*manifest.segment_of(row))
        except (AudioError, OSError) as error:
            reason = reason or f"{manifest.path_of(row)}: {error}"
            continue
        lengths.append((stop - start) / info.sample_rate)
        rates[info.sample_rate] += 1
    if not lengths:
        raise UserError(f"none of {len(rows)} sampled clips can be read, first error: {reason}")
    return Audio(
        median_s=float(np.median(lengths)),
        shortest_s=min(lengths),
        longest_s=max(lengths),
        total_s=float(np.mean(lengths)) * len(manifest),
        rate=rates.most_common(1)[0][0],
        rates=len(rates),
        looked_at=len(rows),
        unreadable=len(rows) - len(lengths),
    )
