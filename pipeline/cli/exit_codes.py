"""Turn the exception that ended a run into a one-line message and an exit code."""

from __future__ import annotations

import errno
import os

from features.errors import AudioheadsError, first_line
from features.system.device_errors import device_failure
from features.system.out_of_memory import is_out_of_memory

INTERRUPTED = 130
_SPACE = (errno.ENOSPC, errno.EDQUOT)
_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST)


def explain(error: BaseException) -> tuple[str, int]:
    """Return the message and exit code for an exception that ended a run.

    Args:
        error: Any exception except `SystemExit`.

    Returns:
        The message, normally one line, and the exit code: 2 for a usage error, 1 for a failed run.
    """
    if isinstance(error, AudioheadsError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; finished work is kept, run the same command to continue", INTERRUPTED
    if is_out_of_memory(error):
        return "out of memory; lower features.batch_s (--set features.batch_s=20)", 1
    if (failure := device_failure(error)) is not None:
        advice = "finished work is kept, run the same command again; if it fails again, use --device cpu"
        return f"the device failed ({failure}); {advice}", 1
    if isinstance(error, OSError):
        return _file_trouble(error), 1
    return f"unexpected {type(error).__name__}: {first_line(error)} (use --verbose for the traceback)", 1


def is_usage_error(error: BaseException) -> bool:
    """Return whether the command line itself was wrong (typer exceptions, whichever click package defines them)."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _file_trouble(error: OSError) -> str:
    name = error.filename if error.filename is not None else ""
    where = f"{os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else name}: " if name else ""
    reason = error.strerror or first_line(error)
    if error.errno in _SPACE:
        return f"{where}{reason}; finished work is kept, free some space and run the same command again"
    if error.errno in _PERMISSION:
        return f"{where}{reason}; make it accessible, or choose another folder (--set output.cache=…, output.runs=…)"
    if error.errno in _NO_FOLDER:
        return f"{where}{reason}; a file is in the place of a folder, move it or choose another folder (--set output.…)"
    return f"{where}{reason} (use --verbose for the traceback)"
