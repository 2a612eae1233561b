"""Download one archive: resume an interrupted download, and verify the checksum."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import RunError
from features.json_files import try_object

if TYPE_CHECKING:
    from requests import Response

PIECE_BYTES = 1 << 20
TIMEOUT_S = 60.0
WAITS_S = (1.0, 2.0, 4.0, 8.0)  # waits between retries that make no progress
OUT_OF_RANGE = 416
Advance = Callable[[int, int | None], None]
"""Callback for progress: number of new bytes, and the total size or None if it is unknown."""


def fetch(url: str, path: Path, checksum: str, advance: Advance) -> str:
    """Download a file, or resume an interrupted download.

    Args:
        url: http or https.
        path: Where to store the complete, verified file; the partial download is `<name>.part` in the same folder.
        checksum: `sha256:…` or `md5:…`; empty: the file is not verified.
        advance: Callback for progress.

    Returns:
        The file's SHA-256.

    Raises:
        RunError: The server cannot be reached or refuses, or the checksum does not match.
        OSError: The disk is full; the partial download is kept.
    """
    import pooch

    logging.getLogger("pooch").setLevel(logging.ERROR)
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        pooch.retrieve(url, checksum or None, fname=path.name, path=path.parent, downloader=Resuming(path, advance))
    except ValueError as error:  # pooch's error for a checksum that does not match
        raise RunError(
            f"{url}: not the expected file (checksum {checksum} does not match); the download was deleted. Run again "
            "if the connection is poor; if the publisher has changed the file and you trust it, pass --checksum none"
        ) from error
    return file_digest(path, "sha256")


def file_digest(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has a checksum `algorithm:hex`; an empty one matches any file."""
    algorithm, _, expected = checksum.rpartition(":")
    return not checksum or file_digest(path, algorithm or "sha256") == expected


@dataclass
class Resuming:
    """A downloader for pooch that resumes interrupted downloads, within one call and across calls.

    `<name>.part.json` next to the partial file records the version of the file on the server (ETag or date, and size).
    If the server has another version, the download starts again.

    Attributes:
        path: Path of the complete file; the partial file is in the same folder.
        advance: Callback for progress.
    """

    path: Path
    advance: Advance

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Download to `output_file`; pooch calls this.

        Raises:
            RunError: The server refuses, or all retries failed.
        """
        import requests

        waits = iter(WAITS_S)
        while True:
            before = self._size()
            try:
                self._download(url)
                break
            except requests.RequestException as error:
                if error.response is not None and not _is_passing(error.response):
                    raise RunError(f"{url}: {_refusal(error.response)}") from error
                if self._size() > before:
                    waits = iter(WAITS_S)
                wait = next(waits, None)
                if wait is None:
                    have = f"; {self._size()} bytes are kept, run again to resume" if self._size() else ""
                    raise RunError(
                        f"{url}: {_trouble(error)}{have}; or download it manually and pass --from FILE"
                    ) from error
                time.sleep(wait)
        self._part.replace(output_file)
        self._notes.unlink(missing_ok=True)

    @property
    def _part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def _notes(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _download(self, url: str) -> None:
        """Make one request: for the rest of the file if the server has the same version, else for all of it."""
        import requests

        notes = self._read_notes(url)
        start = self._size() if notes else 0
        headers = {"Accept-Encoding": "identity"}  # byte ranges need an uncompressed transfer
        if start:
            headers["Range"] = f"bytes={start}-"
            if notes.get("validator"):
                headers["If-Range"] = notes["validator"]
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if start and response.status_code == OUT_OF_RANGE:
                if notes.get("total") == start:
                    return
                self._part.unlink()
                raise requests.ConnectionError("the file on the server has changed")
            response.raise_for_status()
            resumed = response.status_code == 206 and _range_start(response) == start
            if not resumed:
                start = 0
            total = _total(response, start)
            self._notes.write_text(json.dumps({"url": url, "validator": _validator(response), "total": total}))
            self.advance(start, total)
            with self._part.open("ab" if start else "wb") as file:
                for chunk in response.iter_content(PIECE_BYTES):
                    file.write(chunk)
                    self.advance(len(chunk), total)
        if total is not None and self._size() != total:
            raise requests.ConnectionError(f"the connection ended after {self._size()} of {total} bytes")

    def _read_notes(self, url: str) -> dict[str, Any]:
        """Read the record of the partial file; empty if there is nothing to resume."""
        notes: dict[str, Any] = try_object(self._notes) or {}
        return notes if notes.get("url") == url and self._part.exists() else {}


def _validator(response: Response) -> str:
    """Return what identifies this version of the file: a strong ETag, else the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _range_start(response: Response) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _total(response: Response, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def _is_passing(response: Response) -> bool:
    """Whether the error is temporary (5xx or 429)."""
    return response.status_code >= 500 or response.status_code == 429


def _refusal(response: Response) -> str:
    """Describe an error response in one line."""
    hint = "; it may have moved, see the corpus' homepage" if response.status_code in (403, 404, 410) else ""
    return (
        f"the server answers {response.status_code} {response.reason}{hint}; "
        "or download it manually and pass --from FILE"
    )


def _trouble(error: Exception) -> str:
    """Describe a network error in a few words."""
    text = str(error)
    if (response := getattr(error, "response", None)) is not None:
        return f"the server answers {response.status_code} {response.reason}"
    if "resolve" in text or "Name or service" in text:
        return "no such server, or no network"
    if "refused" in text:
        return "the server refuses connections"
    if "timed out" in text:
        return f"no answer within {TIMEOUT_S:.0f} s"
    return "the connection was interrupted"
