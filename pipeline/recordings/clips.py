"""Turn audio arguments (files, folders, manifests, paths from stdin) into clips for stage 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from features.audio.containers import KINDS, file_of, split_member
from features.datasets import tabular
from features.datasets.listing import audio_files
from features.errors import ManifestError, UserError
from features.manifest import Manifest
from pipeline.recordings.containers import clips_in, containers_in

if TYPE_CHECKING:
    import pandas as pd

    from features.records import Records
    from features.store.content_keys import ClipContent

MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
NO_LABEL = "?"  # placeholder, because a manifest needs labels
STDIN = "-"
BYTE_ORDER_MARK = "\ufeff"  # at the start of a list of paths from Windows
SLACK = 0.02  # fraction of a hop: many files are slightly longer than nominal, which needs no extra window


@dataclass(frozen=True)
class Cut:
    """How long clips are cut into windows; each window is scored as a separate clip.

    Attributes:
        window_s: Length of a window in seconds.
        hop_s: From one window's start to the next one's, in seconds.
    """

    window_s: float
    hop_s: float

    def __post_init__(self) -> None:
        """Check that the windows cover the whole clip.

        Raises:
            UserError: The windows leave gaps or have no length.
        """
        if not 0 < self.hop_s <= self.window_s:
            raise UserError(
                f"--hop-s {self.hop_s:g}: must be more than 0 and at most the window length ({self.window_s:g} s)"
            )

    def starts(self, duration_s: float) -> list[float]:
        """Return the window starts in seconds: multiples of the hop, and the last window ends with the clip."""
        spare = duration_s - self.window_s
        steps = math.ceil(spare / self.hop_s - SLACK)
        if steps <= 0:
            return [0.0]
        return [*(step * self.hop_s for step in range(steps)), spare]


@dataclass(frozen=True)
class ClipsToScore:
    """The clips or windows to score.

    Attributes:
        manifest: One row per clip or window, the input of stage 1.
        contents: File content of each row.
        ids: Id of the clip that each row belongs to.
        starts_s: Start of each row in its clip, in seconds; None for whole clips.
        ends_s: End of each row in its clip, in seconds; None for whole clips.
    """

    manifest: Manifest
    contents: Records[ClipContent]
    ids: list[str]
    starts_s: list[float] | None = None
    ends_s: list[float] | None = None


def find_clips(audio: Sequence[str], stdin: TextIO) -> Manifest:
    """Return all clips that the arguments name, in order and without duplicates.

    Args:
        audio: Files, folders (searched recursively), archives (`.tar`), files with embedded audio (`.parquet`,
            `.arrow`), members of both (`clips.tar::dog.wav`), manifests (`.csv`, `.tsv`, `.jsonl`, `.parquet`, as for
            the dataset readers, labels not needed), or `-` for one path per line from stdin.
        stdin: The stream that `-` reads.

    Raises:
        ManifestError: A manifest cannot be read.
        UserError: No argument is given, a folder contains no audio, or no file exists.
    """
    _check_there(audio)
    import pandas as pd

    tables = [table for named in audio for table in _tables(named, stdin)]
    if not tables or not sum(map(len, tables)):
        raise UserError("no audio given; pass files, folders, a manifest, or - with paths on stdin")
    clips = pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True)
    return Manifest("predict", Path(), clips.assign(label=NO_LABEL), "single-label")


def read_clips(
    manifest: Manifest, cut: Cut | None, known: Path, *, rehash: bool = False, save: bool = True
) -> ClipsToScore:
    """Read the facts about each clip's file, and cut long clips into windows.

    Args:
        manifest: From `find_clips`.
        cut: The windows; None: clips are scored whole.
        known: Folder that stores file digests, so that no file is hashed twice.
        rehash: Read every file, even if its size and modification time are unchanged.
        save: Store new digests.
    """
    import numpy as np

    from features.store.content_keys import clips_of_files, file_contents

    files = file_contents(manifest, known, rehash, save=save)
    contents = clips_of_files(manifest, files)
    ids = [str(clip) for clip in manifest.clips["id"]]
    if cut is None:
        return ClipsToScore(manifest, contents, ids)
    rows, starts, ends = [], [], []
    for row, content in enumerate(contents):
        first_s = manifest.segment_of(row)[0]
        for start in cut.starts(content.duration_s):
            end = min(start + cut.window_s, content.duration_s)
            whole = bool(content.failure) or (start == 0 and end == content.duration_s)
            segment = manifest.segment_of(row) if whole else (first_s + start, end - start)
            rows.append((row, segment))
            starts.append(start)
            ends.append(end)
    table = manifest.clips.iloc[[row for row, _ in rows]].assign(
        id=[f"{at}" for at in range(len(rows))],
        start_s=[segment[0] for _, segment in rows],
        duration_s=np.array([segment[1] for _, segment in rows], dtype=float),  # None: NaN
    )
    pieces = Manifest(manifest.name, manifest.root, table, "single-label")
    of = [ids[row] for row, _ in rows]
    return ClipsToScore(pieces, clips_of_files(pieces, files), of, starts, ends)


def _tables(named: str, stdin: TextIO) -> Iterable[pd.DataFrame]:
    """Yield tables with columns `id`, `path` and optionally `start_s`, `duration_s` for one argument."""
    if named == STDIN:
        lines = [line.rstrip("\r\n") for line in stdin]
        lines[:1] = [line.removeprefix(BYTE_ORDER_MARK) for line in lines[:1]]
        for line in lines:
            if line.strip():
                yield from _tables(line, stdin) if line != STDIN else ()
        return
    path = Path(named)
    if path.is_dir():
        files = audio_files(path) or [clip for container in containers_in(path) for clip in clips_in(container) or ()]
        if not files:
            raise UserError(f"{path}: contains no audio files")
        yield _files(files)
    elif path.suffix.lower() in KINDS and split_member(path) is None and (clips := clips_in(path)) is not None:
        yield _files(clips)
    elif path.suffix.lower() in MANIFEST_SUFFIXES:
        table = tabular.read_clips(path)
        yield table.assign(path=[str(path.parent / file) for file in table["path"]])
    else:
        yield _files([path])


def _check_there(audio: Sequence[str]) -> None:
    """Raise `UserError` if all arguments are missing files. If only some are missing, they are failed clips."""
    if audio and all(named != STDIN and not file_of(named).exists() for named in audio):
        others = f" (none of the {len(audio)} arguments exists)" if len(audio) > 1 else ""
        raise UserError(f"{audio[0]}: no such file or folder{others}")


def _files(paths: Sequence[Path]) -> pd.DataFrame:
    texts = [path.as_posix() for path in paths]
    if bad := next((text for text in texts if text.encode("utf-8", "replace").decode("utf-8") != text), None):
        raise ManifestError(f"{bad!r}: the file name is not UTF-8; rename the file")
    import pandas as pd

    return pd.DataFrame({"id": texts, "path": texts})
