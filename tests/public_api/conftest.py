"""A small corpus and one comparison on it, shared by the tests of the Python interface."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import audioheads as ah
from tests.pipeline.small_corpora import tone


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class, with ten tones each."""
    root = tmp_path_factory.mktemp("python") / "sounds"
    for number in range(20):
        label = ("low", "high")[number % 2]
        tone(root / label / f"{number}.wav", 300 + 900 * (number % 2), 0.4, 16_000, number)
    return root


@pytest.fixture(scope="session")
def results(sounds: Path) -> Iterator[ah.Results]:
    """MFCC with a linear head on these tones."""
    home = sounds.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield ah.compare(sounds, heads=["linear"], cache=home / "cache", runs=home / "runs")
