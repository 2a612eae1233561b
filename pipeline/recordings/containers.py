"""List the audio in containers: tar archives, and Parquet or Arrow files with embedded audio."""

from __future__ import annotations

from pathlib import Path

from features.audio.containers import KINDS, SEPARATOR, tar
from features.audio.containers.rows import row_name
from features.datasets.layouts import embedded
from features.datasets.layouts.rows import files_below
from features.datasets.listing import AUDIO_SUFFIXES
from features.errors import AudioError, UserError


def clips_in(path: Path) -> list[Path] | None:
    """Return the paths of all audio in a container, in its order; None if it is a table without embedded audio.

    Raises:
        ManifestError: A Parquet or Arrow file is damaged.
        UserError: An archive is damaged, or contains no audio.
    """
    if path.suffix.lower() == ".tar":
        try:
            names = [name for name in tar.index(path) if _is_audio(name)]
        except AudioError as error:
            raise UserError(f"{path}: {error}") from None
        if not names:
            raise UserError(f"{path}: contains no audio files")
    else:
        columns = embedded.audio_columns(embedded.read_schema(path))
        if not columns:
            return None
        rows = enumerate(embedded.read_rows(path, columns[0], {}))
        names = [row_name(columns[0], number, row.path) for number, row in rows]
    return [Path(f"{path}{SEPARATOR}{name}") for name in names]


def containers_in(folder: Path) -> list[Path]:
    """Return the containers of audio directly in a folder or one level below, sorted."""
    found = sorted(path for path in files_below(folder, depth=1) if path.suffix.lower() in KINDS)
    return [
        path for path in found if path.suffix.lower() == ".tar" or embedded.audio_columns(embedded.read_schema(path))
    ]


def _is_audio(name: str) -> bool:
    base = name.rpartition("/")[2].lower()
    return base.endswith(AUDIO_SUFFIXES) and not base.startswith(".")
