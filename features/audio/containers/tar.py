"""Members of tar archives: the archive is scanned once, then members are read at their position."""

from __future__ import annotations

import posixpath
import tarfile
from pathlib import Path

from features.audio.containers.kept import KeptIndexes
from features.audio.containers.member import Member
from features.errors import AudioError


def find(container: Path, member: str) -> Member | None:
    """Return a member; None if there is none of this name.

    Raises:
        AudioError: The archive is damaged or compressed.
    """
    place = index(container).get(member)
    return None if place is None else Member(member, (container, place[0], place[0] + place[1]))


def index(container: Path) -> dict[str, tuple[int, int]]:
    """Return position and size of every regular file in an archive, by name.

    Names are normalised: `./dogs/1.wav` becomes `dogs/1.wav`. Names that lead out of the archive are left out. Of
    several members with one name, the last counts.

    Raises:
        AudioError: The archive is damaged or compressed.
    """
    return _indexes.get(container)


def _scan(container: Path) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(container, "r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # they would all stay in memory
                name = posixpath.normpath(info.name.lstrip("/"))
                if info.isreg() and not name.startswith("../"):
                    found[name] = info.offset_data, info.size
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise AudioError(
            f"{container.name} cannot be read as a tar archive ({error}); if it is compressed, decompress it"
        ) from None
    return found


_indexes = KeptIndexes(_scan)
