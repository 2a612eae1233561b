"""What every test process needs before torch is imported, and fixtures of all packages."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from tests.places import CPU, Place

# One thread per test process: there is one process for each core. Tests of threads set their own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
# Threads that spin while they wait slow small products down on busy machines.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A shell starts what runs in the background with Ctrl-C ignored, and child processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "any machine", max_examples=50, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("AUDIOHEADS_TEST_WORKERS", usable))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a GPU where there is none; with AUDIOHEADS_REQUIRE_CUDA=1 that is a failure."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        if os.environ.get("AUDIOHEADS_REQUIRE_CUDA", "0") not in ("", "0"):
            pytest.fail("AUDIOHEADS_REQUIRE_CUDA is set, but torch finds no CUDA device", pytrace=False)
        pytest.skip("no CUDA device")


@pytest.hookimpl(trylast=True)  # after the fixtures
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Give the memory of a large test back: the command line lets malloc keep it, see `features.system.malloc`."""
    if item.get_closest_marker("e2e") or item.get_closest_marker("thorough"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:
            trim(0)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Place:
    """Where networks run: on the CPU, unless the test says `tests.places.at_each`."""
    return Place(getattr(request, "param", CPU))


@pytest.fixture
def there(place: Place) -> Iterator[Place]:
    """The place, in use for one test."""
    with place:
        yield place


@pytest.fixture
def global_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what the command line sets for its whole process."""
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    logging.captureWarnings(False)
    for name in ("features", "heads", "pipeline", "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)
