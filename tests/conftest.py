"""Set before torch is imported: threads that spin while they wait slow small products down on busy machines."""

import logging
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
