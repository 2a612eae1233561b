"""Single files of the model hub, `hub:org/name/file.onnx@revision`: found in its local cache, or downloaded into it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from features.backbones.loading.hub import CONNECT_TIMEOUT_S, hub_problem, no_progress_bars, reason_of
from features.errors import WeightsError

HUB = "hub:"
FORM = re.compile(r"hub:(?P<repo>\w[\w.-]*/\w[\w.-]*)/(?P<file>[^@\s]+)(@(?P<revision>[\w./-]+))?")
MOST_LISTED = 8  # files in a message about one that does not exist

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubFile:
    """A file of a hub repository.

    Attributes:
        repo: `org/name`.
        file: Path in the repository, with forward slashes.
        revision: Branch, tag or commit; None: the main branch.
    """

    repo: str
    file: str
    revision: str | None

    def beside(self, name: str) -> HubFile:
        """Return a file in the same folder and revision."""
        return replace(self, file=str(PurePosixPath(self.file).parent / name))


def parse_hub_file(name: str, source: str) -> HubFile:
    """Read `hub:org/name/file[@revision]`.

    Args:
        name: The backbone, for messages.
        source: The text.

    Raises:
        WeightsError: It has another form.
    """
    found = FORM.fullmatch(source)
    if found is None or ".." in PurePosixPath(found["file"]).parts:
        raise WeightsError(f"{name}: weights {source!r} should be hub:org/name/file or hub:org/name/file@revision")
    return HubFile(found["repo"], found["file"], found["revision"])


def cached_file(wanted: HubFile) -> Path | None:
    """Return the path of a hub file in the local cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(wanted.repo, wanted.file, revision=wanted.revision)
    return Path(cached) if isinstance(cached, str) else None


def find_hub_file(name: str, wanted: HubFile, ways: str) -> Path:
    """Return the local path of a hub file, downloading it if necessary.

    Args:
        name: The backbone, for messages.
        wanted: The file.
        ways: Alternatives for the user, for messages.

    Raises:
        WeightsError: There is no such repository, revision or file, no access, or the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    try:
        if (cached := cached_file(wanted)) is not None:
            return cached
        problem = hub_problem()
        if problem is None:
            _log.info("downloading %s of %s from the model hub", wanted.file, wanted.repo)
            with no_progress_bars():
                path = hf_hub_download(
                    wanted.repo, wanted.file, revision=wanted.revision, etag_timeout=CONNECT_TIMEOUT_S
                )
            return Path(path)
    except Exception as error:
        problem = _reason(error, wanted)
    raise WeightsError(
        f"{name}: {wanted.file} of {wanted.repo} cannot be downloaded from the model hub: {problem}, or {ways}"
    )


def _reason(error: Exception, wanted: HubFile) -> str:
    """Describe an error and what to do; for a missing file, list files of the same kind in its repository."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError

    if not isinstance(error, EntryNotFoundError):
        return reason_of(error, wanted.repo, wanted.revision)
    try:
        info = HfApi().model_info(wanted.repo, revision=wanted.revision, timeout=CONNECT_TIMEOUT_S)
    except Exception:
        return f"it has no file {wanted.file!r}; name one that it has"
    suffix = PurePosixPath(wanted.file).suffix
    there = sorted(each.rfilename for each in info.siblings or [] if each.rfilename.endswith(suffix))
    if not there:
        return f"it has no file {wanted.file!r} and no other {suffix} file; name another repository"
    return f"it has no file {wanted.file!r}; name one of its {suffix} files ({', '.join(there[:MOST_LISTED])})"
