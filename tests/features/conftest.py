"""Fixtures of stage 1's tests."""

import pytest

from tests.features.toys import Corpus


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    root = tmp_path / "clips"
    root.mkdir()
    return Corpus(root, tmp_path / "cache")
