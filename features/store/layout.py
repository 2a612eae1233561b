"""Where the rows of a cache lie: in one file, or in the shard files of a set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

SET_SUFFIX = ".shards"  # of the folder beside an index that holds its shard files


@dataclass(frozen=True)
class ShardFile:
    """A file that holds arrays.

    Attributes:
        path: The file.
        size: Its bytes, as the index lists them; None where the file is its own index.
        sha256: What its header has to state; empty where the file is its own index.
    """

    path: Path
    size: int | None = None
    sha256: str = ""

    def absence(self) -> str:
        """Why it cannot be the file that was listed, as far as its size tells; empty where it can."""
        if self.size is None:
            return ""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return "" if size == self.size else f"has {size} bytes instead of {self.size}"


@dataclass(frozen=True)
class RowLocations:
    """Where each of N rows lies.

    Attributes:
        shard_files: The files.
        shard_number: (N,) int, position in `members`.
        row: (N,) int, row in that file.
        first_frame: (N,) int, where the clip's frames start in that file, if any are stored.
        is_set: Whether the files are listed by an index.
    """

    COLUMNS: ClassVar = (
        *("clips/member", "clips/place", "clips/first_frame"),
        *("members/name", "members/bytes", "members/sha256"),
    )

    shard_files: tuple[ShardFile, ...]
    shard_number: np.ndarray
    row: np.ndarray
    first_frame: np.ndarray
    is_set: bool

    @classmethod
    def of_file(cls, path: Path, n_frames: np.ndarray) -> RowLocations:
        """All rows in one file, in order."""
        count = len(n_frames)
        ends = np.cumsum(n_frames, dtype=np.int64)
        return cls((ShardFile(path),), np.zeros(count, np.int64), np.arange(count), ends - n_frames, False)

    def rows_by_shard_file(self) -> Iterator[tuple[int, np.ndarray]]:
        """(position in `members`, the rows that lie there) of each file that holds any."""
        order = np.argsort(self.shard_number, kind="stable")
        numbers, starts = np.unique(self.shard_number[order], return_index=True)
        yield from zip(numbers.tolist(), np.split(order, starts[1:]) if len(order) else [], strict=True)


def set_folder(index: Path) -> Path:
    """Where the shard files of an index lie."""
    return index.with_suffix(SET_SUFFIX)


def read_row_locations(index: Path, columns: Mapping[str, np.ndarray]) -> RowLocations:
    """What the index of a set says, in the datasets `RowLocations.COLUMNS`."""
    listed = zip(*(columns[f"members/{name}"].tolist() for name in ("name", "bytes", "sha256")), strict=True)
    members = tuple(ShardFile(set_folder(index) / name.decode(), size, sha.decode()) for name, size, sha in listed)
    member, place, first_frame = (columns[f"clips/{name}"] for name in ("member", "place", "first_frame"))
    return RowLocations(members, member, place, first_frame, True)
