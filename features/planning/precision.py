"""Precision check: compare reduced precision with fp32 on clips of the run, and choose the run's precision."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from features.audio.decoding import read_waveform
from features.backbones import get_family
from features.backbones.base import Backbone
from features.corpus import Corpus
from features.errors import AudioError, RunError
from features.planning.plan import Plan
from features.planning.resume import PLAN_FILE
from features.planning.settings import Settings
from features.planning.worklist import make_worklist
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store.content_keys import readable
from features.system.atomic_write import atomic_write
from features.system.attempts import Attempts
from features.system.number_types import has_bf16

LOWEST_COSINE = 0.9995  # required between a clip's frames in reduced precision and in fp32, on every layer
CLIPS = 8
CLIP_S = 10.0  # seconds of each clip that are compared, at most
FULL = "fp32"


@dataclass(frozen=True)
class PrecisionCheck:
    """The difference between reduced precision and fp32 on some clips.

    Attributes:
        precision: `bf16` or `fp16`.
        clips: Number of clips measured.
        cosines: For each layer, the cosine between a clip's frames in both precisions; the lowest of all clips.
    """

    precision: str
    clips: int
    cosines: tuple[float, ...]

    @property
    def small(self) -> bool:
        """Whether every layer is close enough to fp32; NaN counts as too far."""
        return all(cosine >= LOWEST_COSINE for cosine in self.cosines)

    def __str__(self) -> str:
        """Return one line with the lowest cosine and its layer."""
        layer = int(np.argmin(np.nan_to_num(self.cosines, nan=-1.0)))
        return (
            f"{self.precision} against fp32 on {self.clips} clip(s): cosine {self.cosines[layer]:.6f} at layer {layer}"
        )


def measure(full: Backbone, reduced: Backbone, precision: str, waveforms: Sequence[np.ndarray]) -> PrecisionCheck:
    """Compare two backbones that differ only in precision.

    Args:
        full: The backbone in fp32.
        reduced: The backbone in `precision`.
        precision: `bf16` or `fp16`.
        waveforms: Clips at the backbones' sample rate, (T,) float32.
    """
    pairs = zip(full.embed(waveforms), reduced.embed(waveforms), strict=True)
    cosines = [[_cosine(exact, rough) for exact, rough in zip(*pair, strict=True)] for pair in pairs]
    return PrecisionCheck(precision, len(waveforms), tuple(float(lowest) for lowest in np.min(cosines, axis=0)))


def _cosine(exact: np.ndarray, rough: np.ndarray) -> float:
    """Return the cosine of two layers' frames (F, D), flattened; 1 if both are zero, NaN if one is not finite."""
    a, b = exact.astype(np.float64).ravel(), rough.astype(np.float64).ravel()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not np.isfinite(norm):
        return float("nan")
    return float(np.minimum(a @ b / norm, 1.0)) if norm else float(np.array_equal(a, b))


def auto_precision(device: str) -> str:
    """Return the precision that `auto` selects on a device: `bf16` if the hardware supports it, else `fp32`."""
    return "bf16" if has_bf16(device) else FULL


def settle(
    corpus: Corpus,
    backbone: BackboneSpec,
    load: Callable[[str], Backbone] | None,
    settings: Settings,
    cache: Path,
    note: Callable[[str], None],
) -> Settings:
    """Resolve a run's precision. A started plan keeps its precision; if the check fails, fp32 is used.

    Args:
        corpus: The clips and their files.
        backbone: The backbone's spec.
        load: Loads the backbone in a precision; called only for a check. None skips the check and writes nothing.
        settings: How to run; `precision` may be `auto`.
        cache: The cache folder.
        note: Called with the result of the check.

    Returns:
        The settings with `precision` resolved, and with `precision_check` if it was measured.

    Raises:
        RunError: The result of the check cannot be written.
        WeightsError: The backbone cannot be loaded.
    """
    if get_family(backbone.family).fp32_only:
        return replace(settings, precision=FULL)

    def cache_file(precision: str) -> Path:
        own = replace(settings, precision=precision)
        return fp.cache_path(cache, corpus.manifest.name, own.cache_spec(backbone), backbone.title)

    wanted = settings.precision
    if wanted == "auto":
        wanted = auto_precision(settings.device)
        for precision in dict.fromkeys((wanted, "bf16", FULL)):
            if Plan.load(cache_file(precision).with_suffix(".parts") / PLAN_FILE) is not None:
                return replace(settings, precision=precision)
    settings = replace(settings, precision=wanted)
    if wanted == FULL:
        return settings
    stored = cache_file(wanted).with_suffix(".drift.json")
    check = read_precision_check(stored)
    if check is not None and not check.small:
        note(f"{check}, measured by an earlier run: fp32 is used (remove {stored} to measure again)")
    elif load is not None and (waveforms := _clips_to_measure(corpus, backbone, settings, cache)):
        started = time.perf_counter()
        check = measure(load(FULL), load(wanted), wanted, waveforms)
        measured_s = time.perf_counter() - started
        note(f"{check}{'' if check.small else ', too far: fp32 is used'} (measured in {measured_s:.1f} s)")
        _write_precision_check(stored, check)
    if check is None:
        return settings
    return replace(settings, precision=wanted if check.small else FULL, precision_check=asdict(check))


def read_precision_check(path: Path) -> PrecisionCheck | None:
    """Read the result of an earlier run's check; None if there is no valid one."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        return PrecisionCheck(str(stored["precision"]), int(stored["clips"]), tuple(map(float, stored["cosines"])))
    return None


def _write_precision_check(path: Path, check: PrecisionCheck) -> None:
    try:
        with atomic_write(path) as temporary:  # the shards of a run write it at the same time
            temporary.write_text(json.dumps(asdict(check)) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror})") from error


def _clips_to_measure(corpus: Corpus, backbone: BackboneSpec, settings: Settings, cache: Path) -> list[np.ndarray]:
    """Return the starts of up to `CLIPS` evenly spaced clips to compute; none if a plan exists already."""
    work = make_worklist(corpus, backbone, settings, cache, verify=False)
    if (work.parts / PLAN_FILE).exists():
        return []
    good = work.todo[readable(corpus.contents.take(work.todo))].tolist()
    count = min(CLIPS, len(good))
    waveforms = []
    with Attempts(cache / corpus.manifest.name) as attempts:
        for row in (good[at * len(good) // count] for at in range(count)):
            content, path = corpus.contents[row], corpus.manifest.path_of(row)
            start_s, _ = corpus.manifest.segment_of(row)
            length_s = min(CLIP_S, content.duration_s)
            # the run itself reports unreadable clips
            with suppress(AudioError), attempts.attempt(content.file_key) as isolated:
                clip = read_waveform(path, backbone.sample_rate, start_s, length_s, isolated=isolated)
                waveforms.append(clip.samples)
    return waveforms
