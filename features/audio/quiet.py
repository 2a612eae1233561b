"""Silence the notes that libmpg123 prints about damaged files: they do not name the file."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_users = 0
_before: int | None = None


@contextlib.contextmanager
def quiet_codecs() -> Iterator[None]:
    """Let the C library's `stderr` lead nowhere in this block; Python's `sys.stderr` is not affected.

    libsndfile offers no way to set libmpg123's quiet flag. glibc documents `stderr` as a variable that may be set.
    Elsewhere the notes are printed.
    """
    global _users, _before
    stderr, nowhere = _streams()
    if stderr is None:
        yield
        return
    with _lock:
        if _users == 0:
            _before, stderr.value = stderr.value, nowhere
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                stderr.value = _before


_found: tuple[ctypes.c_void_p | None, int | None] | None = None


def _streams() -> tuple[ctypes.c_void_p | None, int | None]:
    """Return the C library's variable `stderr` and a stream that discards what is written; None if unknown."""
    global _found
    with _lock:
        if _found is None:
            try:
                library = ctypes.CDLL(None)
                library.fopen.restype = ctypes.c_void_p
                nowhere = library.fopen(b"/dev/null", b"w")
                _found = (ctypes.c_void_p.in_dll(library, "stderr"), nowhere) if nowhere else (None, None)
            except (OSError, AttributeError, ValueError, TypeError):
                _found = (None, None)
    return _found
