"""The exceptions a user can meet. The command line prints their one line and exits with `exit_code`."""

from __future__ import annotations

from pathlib import Path


class AudioheadsError(Exception):
    """Root of every error this program raises on purpose: the run failed."""

    exit_code = 1


class UserError(AudioheadsError):
    """Something the user wrote is wrong: a config, a manifest, an option."""

    exit_code = 2


class ConfigError(UserError):
    """A config file or a `--set` override is wrong; the message names the key."""


class ManifestError(UserError):
    """The labelled clips cannot be used as they are; the message names clip, column or fold."""


class WeightsError(UserError):
    """Weights are missing, unreachable or do not fit; the message names the ways out."""


class CacheError(AudioheadsError):
    """A cache file is damaged, from another version or incomplete. Nothing was deleted."""

    def __init__(self, message: str, path: Path | None = None) -> None:
        """Say what is wrong with the file at `path`."""
        super().__init__(message)
        self.path = path


class AudioError(AudioheadsError):
    """One clip cannot be read. Stage 1 records the message as that clip's reason and goes on."""


class RunError(AudioheadsError):
    """A run cannot go on: most clips fail, the disk is full, a folder is not writable."""


def first_line(error: object) -> str:
    """An exception's first line, for a one-line message."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
