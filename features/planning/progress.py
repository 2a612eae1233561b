"""The interface through which stage 1 reports progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress reports of stage 1."""

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Report the start of work: clips and seconds of audio to compute, and clips already in the cache."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """Report a finished batch: its clips, seconds of audio and failed clips."""

    def note(self, message: str) -> None:
        """Report a message for the log."""


class NoProgress:
    """A `Progress` that shows nothing."""

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """See `Progress`."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """See `Progress`."""

    def note(self, message: str) -> None:
        """See `Progress`."""
