"""From audio files to waveforms: headers, decoding and resampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features.audio.decoding import Waveform, probe, read_waveform, stream_windows

__all__ = ["Waveform", "probe", "read_waveform", "stream_windows"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing a module of this package stays cheap."""
    if name in __all__:
        from features.audio import decoding

        return getattr(decoding, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
