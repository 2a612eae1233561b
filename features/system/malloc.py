"""Make glibc keep large freed buffers for the next batch.

By default glibc returns a freed buffer of some megabytes to the system at once. The next layer's output of the same
size is then mapped, zeroed and faulted in again page by page, which takes an eighth of stage 1's time with
Wav2Vec2-base on a CPU. Keeping the buffers costs memory, because freed buffers of other sizes stay allocated.
Measurements are in docs/performance.md.
"""

from __future__ import annotations

import ctypes
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD, MMAP_MAX = -3, -1, -4  # glibc's malloc.h
LARGEST = 1 << 28  # bytes; the largest buffer to keep, twice the largest of a batch
MOST_FREE = 1 << 30  # bytes; unused memory kept at the end of the heap
OWN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")  # variables with which users choose other settings


def keep_large_buffers() -> bool:
    """Keep freed buffers of up to 256 MiB in this process's main thread, until the process ends.

    Returns:
        Whether this is in effect. It is not if the C library is not glibc, or if the environment configures malloc.
    """
    if sys.platform != "linux" or any(name.startswith(OWN) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # older versions reject such a high threshold, but allow switching off mmap altogether
    kept = mallopt(MMAP_THRESHOLD, LARGEST) or mallopt(MMAP_MAX, 0)
    return bool(kept and mallopt(TRIM_THRESHOLD, MOST_FREE))
