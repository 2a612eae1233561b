"""What stage 1 reports while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Who wants to know how far stage 1 is."""

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Work begins: clips and seconds of audio to compute, clips already there."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """A batch is done."""

    def note(self, message: str) -> None:
        """Something worth a line in the log."""
