"""Exceptions shown to users. The command line prints their one-line message and exits with `exit_code`."""

from __future__ import annotations

from pathlib import Path


class AudioheadsError(Exception):
    """Base class of all errors that this program raises deliberately: the run failed."""

    exit_code = 1


class UserError(AudioheadsError):
    """User input is wrong: a config, a manifest or an option."""

    exit_code = 2


class ConfigError(UserError):
    """A config file or `--set` override is wrong; the message names the key."""


class ManifestError(UserError):
    """The labelled clips are unusable as they are; the message names the clip, column or fold."""


class WeightsError(UserError):
    """Weights are missing, unreachable or unsuitable; the message lists the remedies."""


class CacheError(AudioheadsError):
    """A cache file is damaged, incomplete or from another version. Nothing was deleted.

    Attributes:
        path: The file, if known.
        reason: What is wrong with it, in a few words.
    """

    def __init__(self, message: str, path: Path | None = None, reason: str = "") -> None:
        """Create the error for the file at `path`."""
        super().__init__(message)
        self.path = path
        self.reason = reason or message


class AudioError(AudioheadsError):
    """One clip cannot be read. Stage 1 records the message as the clip's failure reason and continues.

    Attributes:
        lasting: Whether the file is the cause; if not, such as when memory ran out, a later run tries again.
    """

    lasting = True


class DecoderCrashError(AudioError):
    """The process that decoded one file crashed, hung or was killed."""


class DecoderKilledError(DecoderCrashError):
    """The process that decoded one file was killed from outside, perhaps for lack of memory."""

    lasting = False


class RunError(AudioheadsError):
    """A run cannot continue: most clips fail, the disk is full, or a folder is not writable."""


MOST_CHARACTERS = 300  # of a library's message


def first_line(error: object) -> str:
    """Return an exception's first line, or its type's name if it has no text.

    A line that ends with a colon is only a heading, as in torch's messages about state dicts; the next line, which
    names the tensors, is added.
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    heading = lines[0].endswith(":") and len(lines) > 1
    text = f"{lines[0]} {lines[1]}" if heading else lines[0]
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def decoder_error(error: Exception) -> AudioError:
    """Return the failure of a clip whose decoding ended in an unexpected exception."""
    failure = AudioError(f"cannot be decoded ({type(error).__name__}: {first_line(error)})")
    failure.lasting = not isinstance(error, MemoryError)
    return failure
