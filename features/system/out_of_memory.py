"""Recognise the many errors that mean that a device, or the host, has run out of memory."""

from __future__ import annotations

import re

KINDS = {"MemoryError", "OutOfMemoryError"}  # Python's, torch's
TEXTS = re.compile(
    "|".join(
        (
            r"out of memory",  # CUDA, MPS, XPU
            r"cudaErrorMemoryAllocation",
            r"\bCU\w*_ALLOC_FAILED",  # cuBLAS, cuDNN, cuFFT, cuSOLVER, cuSPARSE
            r"CUDNN_STATUS_\w*ALLOCATION_FAILED",
            r"can't allocate memory|not enough memory: you tried to allocate",  # torch's allocator on the host
            r"Failed to allocate memory for requested buffer|Available memory of \d+ is smaller than requested",  # ONNX
            r"\bbad allocation\b|std::bad_alloc",
        )
    ),
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or the one that it was raised from, means that memory has run out."""
    cause: BaseException | None = error
    while cause is not None:
        if KINDS & {base.__name__ for base in type(cause).__mro__}:
            return True
        # torch and onnxruntime report other allocations as RuntimeError or classes of their own
        if not isinstance(cause, OSError | ValueError | TypeError) and TEXTS.search(str(cause)):
            return True
        cause = cause.__cause__
    return False
