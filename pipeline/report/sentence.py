"""Sentences of the report whose names of models, classes and groups are kept apart from the program's own text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """A name in a sentence. It comes from the user."""

    text: str


Sentence = tuple[str | Name, ...]


def text_of(sentence: Iterable[str | Name]) -> str:
    """Return a sentence as plain text."""
    return "".join(piece.text if isinstance(piece, Name) else piece for piece in sentence)
