"""Where the rows of a cache are stored: in one file, or in the shard files of a set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from features.errors import CacheError

SET_SUFFIX = ".shards"  # suffix of the folder, next to the index, that holds the shard files
SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*/[A-Za-z0-9_-][A-Za-z0-9._-]*\.h5")  # <batch>/<file>.h5


@dataclass(frozen=True)
class ShardFile:
    """A file that holds arrays.

    Attributes:
        path: The file.
        size: Its size in bytes according to the index; None if the file is its own index.
        sha256: The digest its header must contain; empty if the file is its own index.
    """

    path: Path
    size: int | None = None
    sha256: str = ""

    def absence(self) -> str:
        """Return why this cannot be the listed file, judging by its size; empty if it can be."""
        if self.size is None:
            return ""
        try:
            if self.path.is_symlink():
                return "is a symbolic link"
            size = self.path.stat().st_size
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return "" if size == self.size else f"has {size} bytes instead of {self.size}"


@dataclass(frozen=True)
class RowLocations:
    """The location of each of N rows.

    Attributes:
        shard_files: The files.
        shard_number: (N,) int, position in `shard_files`.
        row: (N,) int, row in that file.
        first_frame: (N,) int, position of the clip's first frame in that file; only meaningful with stored frames.
        is_set: Whether an index lists the files.
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
        """Locate all rows in one file, in order.

        Args:
            path: The file.
            n_frames: (N,) frame counts of its clips.
        """
        count = len(n_frames)
        ends = np.cumsum(n_frames, dtype=np.int64)
        return cls((ShardFile(path),), np.zeros(count, np.int64), np.arange(count), ends - n_frames, False)

    def rows_by_shard_file(self, rows: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (position in `shard_files`, positions in `rows`) for each file that holds any of some rows.

        Args:
            rows: The rows, in any order; None for all.

        Yields:
            The positions are in the order in which the file stores the rows.
        """
        numbers, stored = self.shard_number, self.row
        if rows is not None:
            numbers, stored = numbers[rows], stored[rows]
        order = np.lexsort((stored, numbers))
        present, starts = np.unique(numbers[order], return_index=True)
        yield from zip(present.tolist(), np.split(order, starts[1:]) if len(order) else [], strict=True)


def set_folder(index: Path) -> Path:
    """Return the folder that holds the shard files of an index."""
    return index.with_suffix(SET_SUFFIX)


def check_folders(index: Path, *others: Path) -> None:
    """Check that a cache's folders are real: files in them are removed, and a link could lead to any other folder.

    Args:
        index: The index of a set, or a cache file.
        others: More folders that belong to it.

    Raises:
        CacheError: The folder of the shards, a folder in it, or one of `others` is a symbolic link.
    """
    folder = set_folder(index)
    batches = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    for item in (folder, *others, *batches):
        if item.is_symlink():
            raise CacheError(
                f"{item}: is a symbolic link where a folder of the cache should be; move it away and run "
                "`audioheads features` with its config again; nothing was deleted",
                item,
            )


def read_row_locations(index: Path, columns: Mapping[str, np.ndarray]) -> RowLocations:
    """Read row locations from the index of a set.

    Args:
        index: The index file.
        columns: Its datasets `RowLocations.COLUMNS`.

    Raises:
        CacheError: A folder of the set is a symbolic link.
        ValueError: A shard file has a name that is not `<batch>/<file>.h5`, or is listed twice; or a row is not in
            one of the shard files.
    """
    check_folders(index)
    names = [name.decode("utf-8", "backslashreplace") for name in columns["members/name"].tolist()]
    for name in names:
        if not SHARD_NAME.fullmatch(name):
            raise ValueError(f"it lists a shard file {name!r} outside its folder {set_folder(index).name}")
    if len(set(names)) != len(names):
        raise ValueError("it lists a shard file twice")
    listed = zip(*(columns[f"members/{name}"].tolist() for name in ("name", "bytes", "sha256")), strict=True)
    files = tuple(ShardFile(set_folder(index) / name.decode(), size, sha.decode()) for name, size, sha in listed)
    shard_number, row, first_frame = (columns[f"clips/{name}"] for name in ("member", "place", "first_frame"))
    if not len(shard_number) == len(row) == len(first_frame):
        raise ValueError("its columns have different lengths")
    if len(row) and (
        shard_number.min() < 0 or shard_number.max() >= len(files) or min(row.min(), first_frame.min()) < 0
    ):
        raise ValueError("it lists a row that is in none of its shard files")
    return RowLocations(files, shard_number, row, first_frame, True)
