"""The digest of what fits are trained and scored on: clips, labels, audio and the rows of every split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from heads.splits.split import Split

TRAIN, VALID, TEST = 1, 2, 3  # sides of a clip in a split; 0: in none


def data_digest(columns: Iterable[Sequence[Any]], splits: Iterable[Split], n_clips: int) -> str:
    """Return the SHA-256 (hex) of a corpus and its splits. Memory is one byte per clip beyond the arguments.

    A split is hashed as its name, the number of its draw, and one byte per clip for the clip's side.

    Args:
        columns: JSON values per clip, such as ids and labels.
        splits: The splits; read one at a time.
        n_clips: Number of clips.
    """
    digest = hashlib.sha256()
    for column in columns:
        for value in column:
            digest.update(json.dumps(value).encode() + b"\n")  # JSON contains no bare newline
        digest.update(b"\n")
    for split in splits:
        digest.update(json.dumps([str(split.fold), split.draw, n_clips]).encode() + b"\n")
        sides = np.zeros(n_clips, dtype=np.uint8)
        for side, rows in ((TRAIN, split.train), (VALID, split.valid), (TEST, split.test)):
            sides[rows] = side
        digest.update(sides.tobytes())
    return digest.hexdigest()
