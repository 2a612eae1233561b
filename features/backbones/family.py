"""Facts about a family of backbones that are known before any weights or libraries are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from features.backbones.presets.record import Preset


def always_cpu(device: str) -> str:
    """Return `cpu`: what a family without code for other devices runs on."""
    return "cpu"


@dataclass(frozen=True)
class EndToEndTraining:
    """How the network of a family is trained end to end.

    Attributes:
        frozen_part: The submodule of `Backbone.module` that `freeze_encoder` keeps frozen.
        gradient_checkpointing: Whether the network can recompute activations in the backward pass to save memory.
    """

    frozen_part: str
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class Candidate:
    """A backbone that `audioheads init` may suggest.

    Attributes:
        name: Its name in a config.
        about: A short description for users.
        speech: Whether it is meant for speech; None: for any sound.
        window_s: Minimum length in seconds; shorter clips are mostly padding.
        gflop_per_s: Billions of floating-point operations per second of audio, from its architecture; None: measured.
    """

    name: str
    about: str
    speech: bool | None
    window_s: float
    gflop_per_s: float | None


@dataclass(frozen=True)
class Family:
    """Facts about a family, defined as `FAMILY` in its module; every field has a default.

    Attributes:
        presets: Name of a preset -> its record.
        record: Record of the weights that the family's own name stands for; None: the config names the weights.
        weights_from: Source of the weights: `none` (no weights needed), the model `hub`, the `web`, a local `file`, or
            third-party `code`.
        extra: The optional dependencies of this program that it needs, as in `audioheads[litert]`; None: none.
        libraries: Distributions that affect its embeddings. Their versions are recorded in cache files.
        fp32_only: Whether it computes in fp32 regardless of the requested precision.
        runs_code: The option that names third-party code to run; None, or an option that is not set: it runs none.
        batch_s: Kind of device (`cpu`, `cuda`) -> padded seconds of audio per batch; others use the general default.
        runs_on: The device that it computes on when a run is on a device; the default is that device.
        end_to_end: How it is trained end to end; None: this is not supported.
        candidates: Backbones that `audioheads init` may suggest.
    """

    presets: Mapping[str, Preset] = field(default_factory=dict)
    record: Preset | None = None
    weights_from: Literal["none", "hub", "web", "file", "code"] = "none"
    extra: str | None = None
    libraries: tuple[str, ...] = ()
    fp32_only: bool = False
    runs_code: str | None = None
    batch_s: Mapping[str, float] = field(default_factory=dict)
    runs_on: Callable[[str], str] = str
    end_to_end: EndToEndTraining | None = None
    candidates: tuple[Candidate, ...] = ()
