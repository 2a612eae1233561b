"""Recognise errors that mean that a device has failed or disappeared, rather than that a model is wrong."""

from __future__ import annotations

import re

KINDS = {"AcceleratorError"}  # torch's, for every CUDA error but running out of memory
TEXTS = re.compile(r"\b(CUDA|HIP|XPU) error: |CUDNN_STATUS_(EXECUTION_FAILED|NOT_INITIALIZED)|CUDA driver error")


def is_device_failure(error: BaseException) -> bool:
    """Return whether an error, or the one that it was raised from, is a failure of a device."""
    return device_failure(error) is not None


def device_failure(error: BaseException) -> str | None:
    """Return the first line of the device's own message; None if no device failed."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if KINDS & {base.__name__ for base in type(cause).__mro__} or (
            isinstance(cause, RuntimeError) and TEXTS.search(text)
        ):
            return text.partition("\n")[0]
        cause = cause.__cause__
    return None
