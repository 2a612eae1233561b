"""Whether weights may have seen the clips that they are tested on."""

from __future__ import annotations

from dataclasses import dataclass

from features.backbones.presets.corpora import CORPORA, Corpus, contained_in
from features.backbones.presets.record import Preset

UNKNOWN = "unknown"
NONE_KNOWN = "none known"
SOURCE = "saw its source"


@dataclass(frozen=True)
class Exposure:
    """What is known about the overlap of a model's training with a corpus.

    Attributes:
        mark: `saw <corpus>`, `saw its source`, `none known` or `unknown`.
        reason: One sentence.
    """

    mark: str
    reason: str

    @property
    def seen(self) -> bool:
        """Whether the corpus or its source is among what the model was trained on."""
        return self.mark not in (UNKNOWN, NONE_KNOWN)


def exposure(record: Preset | None, corpus: Corpus | None) -> Exposure:
    """Compare what weights were trained on with a corpus.

    Args:
        record: What is known about the weights; None: nothing.
        corpus: The tested corpus; None: none with a known origin.
    """
    if record is None or record.trained_on is None:
        return Exposure(UNKNOWN, "It is not known what it was trained on.")
    listed = ", ".join(record.trained_on)
    if corpus is None:
        return Exposure(UNKNOWN, f"Trained on {listed}; the origin of the tested clips is not known.")
    outer = contained_in(corpus)
    for name in record.trained_on:
        seen = CORPORA[name]
        if seen.name in outer:
            what = "" if seen.name == corpus.name else f", which contains {corpus.name}"
            return Exposure(f"saw {seen.name}", f"Trained on {seen.name}{what}.")
        if corpus.name in contained_in(seen):
            return Exposure(f"saw {seen.name}", f"Trained on {seen.name}, a part of {corpus.name}.")
    for name in record.trained_on:
        shared = [source for source in CORPORA[name].sources if source in corpus.sources]
        if shared:
            return Exposure(SOURCE, f"Trained on {name}, whose clips come from {shared[0]}, as {corpus.name}'s do.")
    return Exposure(NONE_KNOWN, f"Trained on {listed}, without a known source in common with {corpus.name}.")
