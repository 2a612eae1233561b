"""The checks: a clip's embedding depends on that clip alone, whatever its batch, its order and its neighbours.

Each check takes a `Subject`, returns what it measured in a few words, and raises `ContractError` if the contract does
not hold. The tests of this project and `audioheads backbones check` call the same functions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from features.backbones.base import Backbone, pad
from features.backbones.contract.clips import make_clips
from features.backbones.golden.clips import golden_clips
from features.backbones.golden.vectors import TOLERANCE, find_golden
from features.errors import RunError

if TYPE_CHECKING:
    import numpy as np

EXACT = 1e-5  # relative error ‖a − b‖/‖b‖ of a clip's valid frames, the largest over its layers
ORDER = (4, 0, 6, 2, 5, 1, 3)
BATCHES = (ORDER, ORDER[:3], (2, 2, 6), (0, 1))  # positions in the clips


class ContractError(RunError):
    """A backbone does not keep its contract; the message states what was measured."""


@dataclass
class Subject:
    """What is checked.

    Attributes:
        backbone: The loaded backbone.
        clips: Seven clips, from one sample to a few seconds; the fourth and later are longer than half a second.
        load_again: Loads the same backbone once more.
    """

    backbone: Backbone
    clips: Sequence[np.ndarray]
    load_again: Callable[[], Backbone]

    @cached_property
    def alone(self) -> list[np.ndarray]:
        """Frames (L, F, D) of each clip when it is the only one of its batch."""
        return [self.backbone.embed([clip])[0] for clip in self.clips]

    @cached_property
    def together(self) -> list[np.ndarray]:
        """Frames (L, F, D) of each clip in one batch of all."""
        return self.backbone.embed(self.clips)


def relative_error(values: np.ndarray, expected: np.ndarray) -> float:
    """Return ‖a − b‖/‖b‖ of frames (L, F, D), the largest over layers; infinity if the shapes differ."""
    import numpy as np

    if values.shape != expected.shape:
        return float("inf")
    differences = np.linalg.norm(values - expected, axis=(1, 2))
    return float((differences / np.maximum(np.linalg.norm(expected, axis=(1, 2)), 1e-12)).max())


def frames_match_the_spec(subject: Subject) -> str:
    """Check type, shape and finiteness of every clip's frames."""
    import numpy as np

    spec = subject.backbone.spec
    if spec.layers != tuple(range(len(spec.layers))) or not spec.layers:
        raise ContractError(f"layers are {spec.layers}, expected 0, 1, 2, …")
    hop = spec.settings.get("hop_samples")
    overlap = spec.settings.get("window_samples", hop) / hop - 1 if hop else 0
    fewer = 2.0 if "interface" in spec.settings else 1.5  # publishers' code may subsample a filter bank
    for clip, frames in zip(subject.clips, subject.alone, strict=True):
        seconds = max(len(clip), spec.min_samples) / spec.sample_rate
        expected = f"({len(spec.layers)}, about {seconds * spec.frame_rate:.0f}, {spec.dim}) float32"
        fits = frames.ndim == 3 and frames.shape[0] == len(spec.layers) and frames.shape[2] == spec.dim
        # a window does not end with its hop, so there may be fewer frames, by the hops that a window overlaps
        off = frames.shape[1] - seconds * spec.frame_rate
        fits = fits and frames.shape[1] >= 1 and -fewer - overlap <= off <= 1.5
        if not fits or frames.dtype != np.float32:
            raise ContractError(f"{seconds:.2f} s gave {frames.shape} {frames.dtype}, expected {expected}")
        if not np.isfinite(frames).all():
            raise ContractError(f"{seconds:.2f} s gave values that are not finite")
    return f"{len(spec.layers)} layers, {spec.dim} dimensions, {spec.frame_rate:g} frames/s"


def a_batch_equals_its_clips_alone(subject: Subject) -> str:
    """Check that padding and neighbours do not change a clip."""
    found = max(map(relative_error, subject.together, subject.alone))
    return _small(found, "a clip in a batch differs from the clip alone")


def order_does_not_matter(subject: Subject) -> str:
    """Check other orders, other neighbours and repeated clips."""
    found = max(_apart(subject, batch) for batch in BATCHES)
    return _small(found, "a clip depends on its position or its neighbours")


def padding_is_ignored(subject: Subject) -> str:
    """Check that samples beyond a clip's length have no effect."""
    backbone = subject.backbone
    waveforms, lengths = pad(subject.clips[2:5], backbone.spec.min_samples)
    clean = backbone.embed_batch(waveforms, lengths)
    for row, length in enumerate(lengths.tolist()):
        waveforms[row, length:] = 0.7
    dirty = backbone.embed_batch(waveforms, lengths)
    if clean.lengths.tolist() != dirty.lengths.tolist():
        raise ContractError("samples beyond a clip change its number of frames")
    found = 0.0
    for row, count in enumerate(clean.lengths.tolist()):
        one, other = (frames.values[row, :, :count].float().cpu().numpy() for frames in (dirty, clean))
        found = max(found, relative_error(one, other))
    return _small(found, "samples beyond a clip change it")


def silence_is_finite(subject: Subject) -> str:
    """Check silence, alone and in a batch."""
    import numpy as np

    silence = np.zeros(subject.backbone.spec.sample_rate * 2, np.float32)
    quiet = subject.backbone.embed([silence])[0]
    if not np.isfinite(quiet).all():
        raise ContractError("silence gives values that are not finite")
    with_another, in_company = subject.backbone.embed([subject.clips[6], silence])
    found = max(relative_error(in_company, quiet), relative_error(with_another, subject.alone[6]))
    return _small(found, "silence in a batch differs from silence alone")


def the_shortest_clip_is_padded(subject: Subject) -> str:
    """Check that one sample equals one sample with zeros up to the minimum length."""
    import numpy as np

    spec = subject.backbone.spec
    if not spec.min_samples == round(spec.min_duration_s * spec.sample_rate) >= 1:
        raise ContractError(f"the shortest clip has {spec.min_samples} samples")
    padded = np.zeros(spec.min_samples, np.float32)
    padded[: len(subject.clips[0])] = subject.clips[0]
    found = relative_error(subject.alone[0], subject.backbone.embed([padded])[0])
    return f"{spec.min_samples} samples; {_small(found, 'a short clip differs from the clip with zeros', 1e-6)}"


def the_longest_clip_is_windowed(subject: Subject) -> str:
    """Check that a clip beyond the maximum equals its windows, and does not affect its neighbour."""
    import numpy as np

    backbone, spec = subject.backbone, subject.backbone.spec
    (clip,) = make_clips(spec.max_samples + spec.sample_rate // 2, seed=1)
    (short,) = make_clips(spec.sample_rate, seed=2)
    windows = [backbone.embed([part])[0] for part in (clip[: spec.max_samples], clip[spec.max_samples :])]
    neighbour, embedded = backbone.embed([short, clip])
    found = relative_error(embedded, np.concatenate(windows, axis=1))
    found = max(found, relative_error(neighbour, backbone.embed([short])[0]))
    return f"windows of {spec.max_duration_s:g} s; {_small(found, 'a long clip differs from its windows')}"


def loaded_again_it_is_the_same(subject: Subject) -> str:
    """Check that a second instance gives the same bits, and that loading does not touch torch's random state."""
    import numpy as np
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = subject.load_again()
    if not torch.equal(torch.rand(3), expected):
        raise ContractError("loading changes the state of torch's random numbers")
    pairs = zip(again.embed(subject.clips), subject.together, strict=True)
    if not all(np.array_equal(one, other) for one, other in pairs):
        raise ContractError("a second instance gives other values for the same clips")
    return "the same bits"


def values_are_the_publishers(subject: Subject) -> str:
    """Check the golden vectors of a preset."""
    spec = subject.backbone.spec
    golden = find_golden(spec.name)
    if golden is None or not golden.fits(subject.backbone):
        raise ValueError(f"{spec.title}: there are no golden vectors of these weights and settings")
    found = golden.error(subject.backbone.embed(golden_clips(spec.sample_rate)))
    return _small(found, f"the values differ from those of {golden.publisher}", TOLERANCE)


Check = Callable[[Subject], str]
# what holds -> its check, the most important first
CHECKS: dict[str, Check] = {
    "frames have the stated shape": frames_match_the_spec,
    "a clip in a batch equals the clip alone": a_batch_equals_its_clips_alone,
    "order and neighbours do not matter": order_does_not_matter,
    "samples beyond a clip are ignored": padding_is_ignored,
    "silence is finite": silence_is_finite,
    "the shortest clip is padded": the_shortest_clip_is_padded,
    "the longest clip is processed in windows": the_longest_clip_is_windowed,
    "loaded again, it gives the same": loaded_again_it_is_the_same,
}


GOLDEN = "the values are the publisher's"


def checks_of(backbone: Backbone) -> dict[str, Check]:
    """Return the checks of a backbone: those of the contract, and its golden vectors if it has the same weights."""
    golden = find_golden(backbone.spec.name)
    return CHECKS if golden is None or not golden.fits(backbone) else {GOLDEN: values_are_the_publishers, **CHECKS}


def why_not_compared(backbone: Backbone) -> str | None:
    """Return why the golden vectors of a preset are not compared; None if they are, or if there are none."""
    golden = find_golden(backbone.spec.name)
    if golden is None or golden.fits(backbone):
        return None
    if golden.weights == "seeded" and not backbone.spec.untrained:
        return "known for random weights only: --set weights=random"
    return "known for other weights or settings only"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: A key of `checks_of`.
        holds: Whether it holds; None: there was no time for it.
        detail: What was measured, or what is wrong.
    """

    name: str
    holds: bool | None
    detail: str


def run_checks(subject: Subject, limit_s: float) -> Iterator[Finding]:
    """Run the checks until a time limit; later ones are skipped.

    Args:
        subject: What to check.
        limit_s: Seconds after which no further check starts.
    """
    started = time.monotonic()
    for name, check in checks_of(subject.backbone).items():
        if time.monotonic() - started > limit_s:
            yield Finding(name, None, f"not checked within {limit_s:.0f} s")
            continue
        try:
            yield Finding(name, True, check(subject))
        except ContractError as error:
            yield Finding(name, False, str(error))


def _apart(subject: Subject, positions: Sequence[int]) -> float:
    """Return the largest relative error between the clips at some positions, as one batch, and each of them alone."""
    batch = subject.backbone.embed([subject.clips[at] for at in positions])
    return max(relative_error(frames, subject.alone[at]) for frames, at in zip(batch, positions, strict=True))


def _small(found: float, what: str, allowed: float = EXACT) -> str:
    """Return a relative error as text.

    Raises:
        ContractError: It is larger than allowed.
    """
    if not found <= allowed:
        raise ContractError(f"{what}: relative error {found:.1e}, at most {allowed:.0e} allowed")
    return f"relative error {found:.1e}"
