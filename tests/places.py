"""Where a test lets networks run."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

CPU, PRETEND = "cpu", "pretend_cuda"
GPU = pytest.param("cuda", marks=pytest.mark.gpu)
DEVICES = [PRETEND, GPU]
PLACES = [CPU, *DEVICES]


def at_each(*places: Any) -> pytest.MarkDecorator:
    """Run a test, which has the fixture `place` or `there`, at these places; without any, at all of `PLACES`."""
    return pytest.mark.parametrize("place", places or PLACES, indirect=True, scope="module")


class Place:
    """The CPU or a CUDA device; torch uses it in a `with` block.

    Attributes:
        name: `cpu`, `pretend_cuda` or `cuda`.
        device: Its name for torch.
        pretend: The pretend device, which counts what happens; None elsewhere.
    """

    def __init__(self, name: str) -> None:
        """Make the place; torch is imported only for the pretend device."""
        self.name = name
        self.device = "cpu" if name == CPU else "cuda"
        self.pretend: Any = None
        if name == PRETEND:
            from tests.pretend_cuda import PretendCuda

            self.pretend = PretendCuda()
        self._context = self.pretend or nullcontext()

    def __enter__(self) -> Place:
        self._context.__enter__()
        if self.pretend is not None:
            self.pretend.reset()
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)
