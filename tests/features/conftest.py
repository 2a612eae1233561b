"""Fixtures for the tests of stage 1."""

import pytest

from tests.features.toys import Corpus, write_seven


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    root = tmp_path / "clips"
    root.mkdir()
    return Corpus(root, tmp_path / "cache")


@pytest.fixture
def seven(corpus) -> Corpus:
    return write_seven(corpus)
