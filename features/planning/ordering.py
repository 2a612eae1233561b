"""The order in which clips are computed: by length, with segments of compressed files grouped by file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.audio.containers import file_of
from features.audio.decoded_cache import MOST_BYTES, MOST_FILES, SAMPLE_BYTES
from features.records import Records

# Two groups fit in the cache of decoded files: the current one and the one read ahead.
GROUP_BYTES = MOST_BYTES // 2
GROUP_FILES = MOST_FILES // 2
ENTERED_AT_START = (".mp3", ".mp2", ".mpga", ".ogg", ".oga", ".opus")
IN_ROW_GROUPS = ".parquet"


@dataclass(frozen=True, slots=True)
class Extent:
    """The properties of a clip that determine its order.

    Attributes:
        id: Its id.
        path: Its file.
        n_samples: Its length in samples at the model's sample rate.
        stop: Its end in its file, in the file's samples.
        segment: Whether it is a part of its file.
    """

    id: str
    path: str
    n_samples: int
    stop: int
    segment: bool


def computing_order(clips: Records[Extent]) -> np.ndarray:
    """Return positions of clips, longest first, so that padding is small and memory use peaks early.

    Segments of files that can only be decoded from their start come last. They are ordered in groups of files that fit
    into the cache of decoded files (`features.audio.decoded_cache`), longest first within a group. Ordered by length
    alone, the segments of one file would be scattered, and the file would be decoded once for each of them. Clips in
    Parquet files are grouped likewise, because a row group is decompressed as a whole.
    """
    files: dict[str, int] = {}
    shared: list[str] = []
    for clip in clips:
        file = _decoded_together(clip)
        shared.append(file)
        if file and file == clip.path:
            files[file] = max(files.get(file, 0), clip.stop * SAMPLE_BYTES)
        elif file:
            files[file] = files.get(file, 0) + clip.n_samples * SAMPLE_BYTES
    group_of: dict[str, int] = {}
    group, held, count = 1, 0, 0
    for path in sorted(files):
        if count and (held + files[path] > GROUP_BYTES or count >= GROUP_FILES):
            group, held, count = group + 1, 0, 0
        group_of[path] = group
        held, count = held + files[path], count + 1
    groups = pa.array((group_of.get(file, 0) for file in shared), pa.int64())
    order = [("group", "ascending"), ("n_samples", "descending"), ("id", "ascending")]
    return pc.sort_indices(clips.table.append_column("group", groups), sort_keys=order).to_numpy()


def _decoded_together(clip: Extent) -> str:
    """Return the file that is decoded or decompressed as a whole for a clip; empty if only the clip is read."""
    container = file_of(clip.path)
    if container.suffix.lower() == IN_ROW_GROUPS:
        return str(container)
    return clip.path if clip.segment and Path(clip.path).suffix.lower() in ENTERED_AT_START else ""
