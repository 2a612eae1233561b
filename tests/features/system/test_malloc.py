"""The process keeps large freed buffers."""

import os
import subprocess
import sys

import pytest

from features.system.malloc import OWN

SCRIPT = """
import resource, sys
import numpy as np
from features.system.malloc import keep_large_buffers
kept = len(sys.argv) > 1 and keep_large_buffers()
np.ones(50_000_000, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(50_000_000, np.float32)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*arguments: str, **environment: str) -> tuple[str, int]:
    """Return whether buffers are kept, and the page faults of five successive buffers of 200 MB."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    clean["NUMPY_MADVISE_HUGEPAGE"] = "0"  # pages of one size
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=clean | environment, capture_output=True, text=True, check=True
    ).stdout.split()
    return output[0], int(output[1])


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_large_buffer_is_faulted_in_once() -> None:
    (without, many), (kept, few) = _faults(), _faults("keep")
    if kept == "False":
        pytest.skip("the C library is not glibc")
    assert without == "False" and few < many / 10
    refused, again = _faults("keep", MALLOC_MMAP_THRESHOLD_="1000000")
    assert refused == "False" and few < again / 10
