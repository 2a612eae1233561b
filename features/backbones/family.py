"""The facts about a family of backbones that are known before any weights or libraries are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class EndToEndTraining:
    """How the network of a family is trained end to end.

    Attributes:
        frozen_part: The submodule of `Backbone.module` that `freeze_encoder` leaves as it is.
        gradient_checkpointing: Whether the network can compute activations again in the backward pass to save memory.
    """

    frozen_part: str
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class Candidate:
    """A backbone that `audioheads init` may suggest.

    Attributes:
        name: As a config names it.
        about: What it is good at.
        speech: Whether it was made for speech; None: for any sound.
        window_s: Seconds of audio that it needs at least to see anything but padding.
        gflop_per_s: Billions of floating-point operations for a second of audio, by its architecture; None: measured.
    """

    name: str
    about: str
    speech: bool | None
    window_s: float
    gflop_per_s: float | None


@dataclass(frozen=True)
class Family:
    """What a family says of itself, as `FAMILY` in its module; every field has a default.

    Attributes:
        presets: Name of a preset -> the options that it sets; the options in a config override them.
        weights_from: Where the weights come from: `none` are needed, the model `hub`, the `web`, a local `file`, or
            other people's `code`.
        extra: The optional dependencies of this program that it needs, as in `audioheads[litert]`; None: none.
        libraries: Distributions that decide its values. Their versions are recorded in cache files.
        fp32_only: Whether it computes in fp32 whatever precision is asked for.
        runs_code: The option that names other people's code to run; None: it runs none.
        batch_s: Kind of device (`cpu`, `cuda`) -> padded seconds of audio in a batch; others: the general default.
        end_to_end: How it is trained end to end; None: it cannot be.
        licences: Hub id of weights, or the backbone's name for weights from elsewhere -> the licence that their
            publisher states. A model card calls any other licence unknown.
        candidates: What `audioheads init` may suggest.
    """

    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights_from: Literal["none", "hub", "web", "file", "code"] = "none"
    extra: str | None = None
    libraries: tuple[str, ...] = ()
    fp32_only: bool = False
    runs_code: str | None = None
    batch_s: Mapping[str, float] = field(default_factory=dict)
    end_to_end: EndToEndTraining | None = None
    licences: Mapping[str, str] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
