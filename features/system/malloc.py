"""Memory of large buffers, kept for the next batch.

By default glibc hands a buffer of some megabytes back to the system as soon as it is free, and the next layer's output
of the same size is mapped, zeroed and faulted in again page by page: an eighth of stage 1's time with Wav2Vec2-base on
a CPU. The price is memory: free buffers of other sizes lie beside those in use. Figures are in docs/performance.md.
"""

from __future__ import annotations

import ctypes
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD, MMAP_MAX = -3, -1, -4  # glibc's malloc.h
LARGEST = 1 << 28  # bytes of a buffer that is kept; a batch's largest has half of that
MOST_FREE = 1 << 30  # bytes at the end of the heap that stay although nothing uses them
OWN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")  # variables by which users choose for themselves


def keep_large_buffers() -> bool:
    """Let this process keep freed buffers of up to 256 MiB, those of its main thread, for good.

    Returns:
        Whether it does: not where the C library is another than glibc, or the environment has settings of its own.
    """
    if sys.platform != "linux" or any(name.startswith(OWN) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # older versions refuse a threshold as high as this, but can be told to map nothing
    kept = mallopt(MMAP_THRESHOLD, LARGEST) or mallopt(MMAP_MAX, 0)
    return bool(kept and mallopt(TRIM_THRESHOLD, MOST_FREE))
