"""The record of a preset: where its weights are, what it expects of its input, and what it was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BUNDLED = "bundled:"  # prefix of a model that is part of this package
COMMIT = re.compile(r"[0-9a-f]{40}")
# licence -> whether it allows commercial use
COMMERCIAL_USE = {
    "apache-2.0": True,
    "bsd-3-clause": True,
    "cc-by-4.0": True,
    "mit": True,
    "cc-by-nc-4.0": False,
    "cc-by-nc-sa-4.0": False,
    "nvidia-oneway-noncommercial": False,
    "audeering-research": False,  # the licence of openSMILE, for research, education and personal use
}
SNAPSHOT_FILES = ("config.json", "preprocessor_config.json", "model.safetensors or pytorch_model.bin")
WHOLE_WINDOWS = "zeros to a whole window, which counts by its fraction of real samples"
ALL_STATES = "the inputs of all layers, then the normed output of the last"


@dataclass(frozen=True)
class InputContract:
    """The input that a model expects, and how this program meets it.

    Attributes:
        sample_rate_hz: Sample rate in Hz.
        channels: Number of channels; others are averaged.
        window_samples: Samples of one input, or of the receptive field of one frame.
        hop_samples: Samples from one window, or one frame, to the next.
        shortest_s: Seconds; shorter clips are padded to it.
        longest_s: Seconds; longer clips are processed in windows of this length. None: of `max_duration_s`.
        normalisation: What is done to the samples of each clip or window.
        padding: How clips that are too short, or shorter than their batch, are completed.
    """

    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    shortest_s: float
    longest_s: float | None = None
    channels: int = 1
    normalisation: str = "none"
    padding: str = "zeros at the end"

    def window_options(self) -> dict[str, int]:
        """Return the options of a model that takes windows of one size."""
        return {
            "sample_rate_hz": self.sample_rate_hz,
            "window_samples": self.window_samples,
            "hop_samples": self.hop_samples,
        }


@dataclass(frozen=True)
class Preset:
    """A published model: the options that select it, and the facts that its publisher states.

    `None` is a fact that is not known; the command line shows it as `unknown`.

    Attributes:
        weights: Value of the option `weights`, without a revision: a hub id, a file or a URL; None: none is set.
        revision: Commit of the hub repository, 40 hexadecimal digits; None: the newest is used.
        options: Further options that the preset sets. The options in a config override them.
        files: Files of the weights that are used.
        page: Where the publisher offers or lists these files, if that is not a repository of the model hub.
        needs_trust: Whether the weights come with code that has to be trusted (`trust`); the preset never sets it.
        input: The expected input.
        layers: Number of layers of an embedding.
        layer_order: What the layers are, from the first to the last.
        dim: Dimension of an embedding.
        parameters: Number of parameters of the part that embeds audio.
        licence: Licence of the weights, or of handcrafted features, as an SPDX identifier in lower case.
        citation: The publication.
        pretrained_on: Corpora of the pretraining, names of `corpora.CORPORA`; empty: there was none.
        finetuned_on: Corpora of the training that followed it; empty: there was none.
    """

    weights: str | None = None
    revision: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    page: str | None = None
    needs_trust: bool = False
    input: InputContract | None = None
    layers: int | None = None
    layer_order: str = ALL_STATES
    dim: int | None = None
    parameters: int | None = None
    licence: str | None = None
    citation: str | None = None
    pretrained_on: tuple[str, ...] | None = None
    finetuned_on: tuple[str, ...] | None = ()

    def __post_init__(self) -> None:
        """Check that a revision is a commit: branches and tags can move.

        Raises:
            ValueError: It is something else.
        """
        if self.revision is not None and not COMMIT.fullmatch(self.revision):
            raise ValueError(f"{self.weights}: revision should be a commit of 40 hex digits, got {self.revision!r}")

    @property
    def entry(self) -> dict[str, Any]:
        """The options that the preset sets."""
        if self.weights is None:
            return dict(self.options)
        pinned = self.weights if self.revision is None else f"{self.weights}@{self.revision}"
        return {"weights": pinned, **self.options}

    @property
    def commercial_use(self) -> bool | None:
        """Whether the licence of the weights allows commercial use; None if that is not known."""
        return COMMERCIAL_USE.get(self.licence or "")

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Every corpus that the weights have seen, each once; None if any part of the training is not known."""
        if self.pretrained_on is None or self.finetuned_on is None:
            return None
        return tuple(dict.fromkeys((*self.pretrained_on, *self.finetuned_on)))
