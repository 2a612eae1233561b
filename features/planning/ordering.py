"""In which order clips are computed: of like length together, and segments of a file that is decoded but once, too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.audio.decoded_cache import MOST_BYTES, MOST_FILES, SAMPLE_BYTES
from features.records import Records

# Two groups fit among the decoded files: the one at work and the one read ahead.
GROUP_BYTES = MOST_BYTES // 2
GROUP_FILES = MOST_FILES // 2
ENTERED_AT_START = (".mp3", ".mp2", ".mpga", ".ogg", ".oga", ".opus")


@dataclass(frozen=True, slots=True)
class Extent:
    """A clip, as far as its order matters.

    Attributes:
        id: Its id.
        path: Its file.
        n_samples: Its length as the model sees it.
        stop: Where it ends in its file, in the file's samples.
        segment: Whether it is a part of its file.
    """

    id: str
    path: str
    n_samples: int
    stop: int
    segment: bool


def computing_order(clips: Records[Extent]) -> np.ndarray:
    """Positions of clips, longest first, so that little is padded and memory shows its peak early.

    Segments of files that can only be decoded from their start come after all others, in groups of files that fit into
    the cache of decoded files (`features.audio.decoded_cache`), longest first within a group. Without that, the
    segments of one file would be scattered over the order by length, and the file would be decoded for each of them.
    """
    files: dict[str, int] = {}
    for clip in clips:
        if clip.segment and Path(clip.path).suffix.lower() in ENTERED_AT_START:
            files[clip.path] = max(files.get(clip.path, 0), clip.stop * SAMPLE_BYTES)
    group_of: dict[str, int] = {}
    group, held, count = 1, 0, 0
    for path in sorted(files):
        if count and (held + files[path] > GROUP_BYTES or count >= GROUP_FILES):
            group, held, count = group + 1, 0, 0
        group_of[path] = group
        held, count = held + files[path], count + 1
    groups = pa.array((group_of.get(clip.path, 0) if clip.segment else 0 for clip in clips), pa.int64())
    order = [("group", "ascending"), ("n_samples", "descending"), ("id", "ascending")]
    return pc.sort_indices(clips.table.append_column("group", groups), sort_keys=order).to_numpy()
