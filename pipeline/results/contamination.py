"""Whether the pretrained weights of a model have seen the corpus that it is tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.backbones import record_of_weights
from features.backbones.presets.corpora import Corpus, find_corpus
from features.backbones.presets.exposure import Exposure, exposure
from pipeline.config.config import Config, label_of

PRETRAINED = "pretrained:"


def corpus_of(config: Config) -> Corpus | None:
    """Return the corpus of an experiment, found by its subset, kind or name; None if its origin is not known."""
    dataset = config.dataset.model_dump()
    return find_corpus(dataset.get("subset"), dataset.get("kind"), dataset.get("name"))


def backbones_of(config: Config) -> dict[str, str]:
    """Return the name of the backbone of each label."""
    return {label_of(entry): str(getattr(entry, "name")) for entry in config.features.backbones}  # noqa: B009


def exposure_of(about: Mapping[str, Any], backbone: str, corpus: Corpus | None) -> Exposure | None:
    """Return what is known about the overlap of a model's pretraining with a corpus.

    Args:
        about: The model's `fit.json` or its row of the table, with `weights`.
        backbone: Name of its backbone.
        corpus: The tested corpus; None: none with a known origin.

    Returns:
        The overlap; None for a model without pretrained weights.
    """
    weights = str(about.get("weights") or "")
    if not weights.startswith(PRETRAINED):
        return None
    return exposure(record_of_weights(backbone, weights.removeprefix(PRETRAINED)), corpus)
