"""Model folders of the Hugging Face hub: found in its local cache, or downloaded into it."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from features.backbones.loading.model_folders import (
    CONFIG_FILE,
    PREPROCESSOR_FILES,
    WEIGHT_FILES,
    indexed_shards,
    weight_files,
)
from features.backbones.loading.remote_code import missing_code
from features.errors import WeightsError, first_line

CONNECT_TIMEOUT_S = 8
LOG_IN = "log in (`hf auth login`)"

_log = logging.getLogger(__name__)


def find_snapshot(name: str, repo: str, revision: str | None, ways_out: str, *, code: bool = False) -> Path:
    """Return the local folder of a hub repository, downloading it if necessary.

    Args:
        name: The backbone, for messages.
        repo: `org/name`.
        revision: Branch, tag or commit; None: the main branch.
        ways_out: Alternatives for the user, for messages.
        code: Whether the code in the repository is needed, too.

    Raises:
        WeightsError: There is no such repository or revision, no access, or the hub cannot be reached.
    """
    from huggingface_hub.errors import HFValidationError

    try:
        folder, lacking = cached_snapshot(repo, revision)
        if folder and not lacking and code:
            lacking = missing_code(folder)
        if folder and not lacking:
            return folder
        problem = hub_problem()
        if problem is None:
            return _fetch_snapshot(repo, revision, code=code)
    except HFValidationError:
        raise WeightsError(f"{name}: {repo!r} is neither a local folder nor a hub id `org/name`; {ways_out}") from None
    except Exception as error:
        problem = reason_of(error, repo, revision)
    half = f" (the copy in {folder} has no {lacking})" if folder else ""
    raise WeightsError(
        f"{name}: no local folder {repo!r}{half}, and it cannot be downloaded from the model hub: {problem}, or "
        f"{ways_out}"
    )


def cached_snapshot(repo: str, revision: str | None) -> tuple[Path | None, str]:
    """Return the cached snapshot, if any, and the name of a missing file.

    A snapshot that another program downloaded may lack the preprocessor's configuration although the repository has
    one. This must not be confused with a repository that has none.
    """
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, CONFIG_FILE, revision=revision)
    if not isinstance(config, str):
        return None, ""
    folder = Path(config).parent
    preprocessing = [try_to_load_from_cache(repo, file, revision=revision) for file in PREPROCESSOR_FILES]
    if None in preprocessing and not any(isinstance(path, str) for path in preprocessing):
        return folder, PREPROCESSOR_FILES[0]
    return folder, "" if weight_files(folder) else WEIGHT_FILES[0]


def _fetch_snapshot(repo: str, revision: str | None, *, code: bool) -> Path:
    """Download the configurations, one format of the weights and, if it is needed, the code of a hub repository.

    The branch name refers to the new snapshot only after the snapshot is complete.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    info = HfApi().model_info(repo, revision=revision, timeout=CONNECT_TIMEOUT_S)
    there = {sibling.rfilename for sibling in info.siblings or []}
    wanted = next((file for name in WEIGHT_FILES for file in (name, f"{name}.index.json") if file in there), None)
    if CONFIG_FILE not in there or wanted is None:
        raise WeightsError(f"it has no {CONFIG_FILE} with {' or '.join(WEIGHT_FILES)}; name another repository")

    def fetch(file: str, at: str | None) -> Path:
        return Path(hf_hub_download(repo, file, revision=at, etag_timeout=CONNECT_TIMEOUT_S))

    _log.info("downloading %s from the model hub", repo)
    with no_progress_bars():
        for file in PREPROCESSOR_FILES:
            with contextlib.suppress(RemoteEntryNotFoundError):  # the hub's cache records that the file does not exist
                fetch(file, info.sha)
        fetch(CONFIG_FILE, info.sha)  # says which shards are needed
        weights = fetch(wanted, info.sha)
        if wanted.endswith(".index.json"):
            for shard in indexed_shards(weights):
                fetch(shard, info.sha)
        for file in sorted(there) if code else ():
            if file.endswith(".py") and "/" not in file:
                fetch(file, info.sha)
        return fetch(CONFIG_FILE, revision).parent


def hub_problem() -> str | None:
    """Return why the hub cannot be reached and what to do, or None."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set; unset it"
    problem = _endpoint_problem(constants.ENDPOINT)
    return None if problem is None else f"{problem}; connect"


@cache
def _endpoint_problem(endpoint: str) -> str | None:
    """Return why the hub does not answer, or None; checked once per process, so that many models fail together.

    The connection timeout does not cover DNS look-ups or several addresses, so the wait has its own limit.
    """
    answers: list[str | None] = []
    shown = _without_password(endpoint)

    def ask() -> None:
        from huggingface_hub.utils import get_session

        try:
            get_session().head(endpoint, timeout=CONNECT_TIMEOUT_S)
            answers.append(None)
        except Exception as error:
            answers.append(f"{shown} not reachable ({first_line(error)})")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT_S + 1)
    return answers[0] if answers else f"{shown} does not answer within {CONNECT_TIMEOUT_S} s"


def reason_of(error: Exception, repo: str, revision: str | None) -> str:
    """Describe an error of the hub in a few words, with what to do.

    Args:
        error: The error.
        repo: `org/name`.
        revision: Branch, tag or commit that was asked for; None: the main branch.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):  # a kind of RepositoryNotFoundError
        page = f"{_without_password(constants.ENDPOINT)}/{repo}"
        return f"it is gated; ask for access on its page {page} and {LOG_IN}"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such repository, or a private one; check its name, {LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {revision!r}; name a branch, tag or commit that it has"
    if isinstance(error, WeightsError):  # of this module
        return str(error)
    return f"{first_line(error)}; connect or {LOG_IN}"


def _without_password(endpoint: str) -> str:
    """Return an address without the user's name and password."""
    return re.sub("//[^/@]*@", "//", endpoint)


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """Disable the progress bars of the hub's client."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    if not before:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()
