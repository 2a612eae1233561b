"""Fixtures for the tests of stage 1."""

import pytest

from tests.features.toys import NAMES, Corpus, noise


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    root = tmp_path / "clips"
    root.mkdir()
    return Corpus(root, tmp_path / "cache")


@pytest.fixture
def seven(corpus) -> Corpus:
    for number, name in enumerate(NAMES):
        corpus.write(name, noise(800 + 300 * number, number))
    return corpus
