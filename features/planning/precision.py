"""How far reduced precision drifts from fp32 on a run's own clips, and which precision a run uses therefore."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from features.audio.decoding import read_waveform
from features.backbones import FP32_ONLY
from features.backbones.base import Backbone
from features.errors import AudioError, RunError
from features.manifest import Manifest
from features.planning.plan import Plan
from features.planning.resume import PLAN_FILE
from features.planning.settings import Settings
from features.planning.worklist import Work, survey
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store.content_keys import readable
from features.system.atomic_write import atomic_write

LOWEST_COSINE = 0.9995  # between a clip's frames in reduced precision and in fp32, on every layer
CLIPS = 8
CLIP_S = 10.0  # of each clip at most
FULL = "fp32"


@dataclass(frozen=True)
class Drift:
    """What reduced precision does to some clips.

    Attributes:
        precision: `bf16` or `fp16`.
        clips: How many it was measured on.
        cosines: By layer, the lowest cosine over the clips between all frames of a clip in both precisions.
    """

    precision: str
    clips: int
    cosines: tuple[float, ...]

    @property
    def small(self) -> bool:
        """Whether every layer stays close enough to fp32; NaN does not."""
        return all(cosine >= LOWEST_COSINE for cosine in self.cosines)

    def __str__(self) -> str:
        """For people."""
        layer = int(np.argmin(np.nan_to_num(self.cosines, nan=-1.0)))
        return (
            f"{self.precision} against fp32 on {self.clips} clip(s): cosine {self.cosines[layer]:.6f} at layer {layer}"
        )


def measure(full: Backbone, reduced: Backbone, precision: str, waveforms: Sequence[np.ndarray]) -> Drift:
    """Compare two backbones that differ in precision alone.

    Args:
        full: In fp32.
        reduced: In `precision`.
        precision: `bf16` or `fp16`.
        waveforms: Clips at the backbones' sample rate, (T,) float32.
    """
    pairs = zip(full.embed(waveforms), reduced.embed(waveforms), strict=True)
    cosines = [[_cosine(exact, rough) for exact, rough in zip(*pair, strict=True)] for pair in pairs]
    return Drift(precision, len(waveforms), tuple(float(lowest) for lowest in np.min(cosines, axis=0)))


def _cosine(exact: np.ndarray, rough: np.ndarray) -> float:
    """Of two layers' frames (F, D) as one vector each; 1 where both are zero, NaN where one is not finite."""
    a, b = exact.astype(np.float64).ravel(), rough.astype(np.float64).ravel()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not np.isfinite(norm):
        return float("nan")
    return float(np.minimum(a @ b / norm, 1.0)) if norm else float(np.array_equal(a, b))


def auto_precision(device: str) -> str:
    """What `auto` stands for on a device: `bf16` where its arithmetic has it, else `fp32`."""
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else FULL
    if torch.device(device).type == "cpu":
        checks = (getattr(torch.cpu, f"_is_{feature}_supported", None) for feature in ("avx512_bf16", "amx_tile"))
        return "bf16" if any(check is not None and check() for check in checks) else FULL
    return FULL


def settle(
    manifest: Manifest,
    backbone: BackboneSpec,
    load: Callable[[str], Backbone] | None,
    settings: Settings,
    cache: Path,
    note: Callable[[str], None],
) -> Settings:
    """Decide a run's precision. A plan that was begun is kept to; what drifts too far becomes fp32.

    Args:
        manifest: The clips.
        backbone: The spec of what embeds them.
        load: Loads it in a precision; called where there is drift to measure. None: nothing is measured or written.
        settings: How to run; `precision` may be `auto`.
        cache: The cache folder.
        note: Told what was measured and what follows.

    Returns:
        The settings with `precision` resolved, and `drift` where it was measured.

    Raises:
        RunError: What was measured cannot be written.
        WeightsError: The backbone cannot be loaded.
    """
    if backbone.family in FP32_ONLY:
        return replace(settings, precision=FULL)
    wanted = auto_precision(settings.device) if settings.precision == "auto" else settings.precision
    if settings.precision == "auto":
        for precision in dict.fromkeys((wanted, "bf16", FULL)):
            begun = replace(settings, precision=precision)
            if Plan.load(_file(manifest, backbone, begun, cache).with_suffix(".parts") / PLAN_FILE) is not None:
                return begun
    settings = replace(settings, precision=wanted)
    if wanted == FULL:
        return settings
    verdict = _file(manifest, backbone, settings, cache).with_suffix(".drift.json")
    known = read_drift(verdict)
    if known is not None and not known.small:
        note(f"{known}, when it was measured: fp32 is used (remove {verdict} to measure again)")
        return replace(settings, precision=FULL, drift=asdict(known))
    settings = settings if known is None else replace(settings, drift=asdict(known))
    if load is None:
        return settings
    work = survey(manifest, backbone, replace(settings, rehash=False), cache, verify=False)
    if not len(work.todo) or (work.path.with_suffix(".parts") / PLAN_FILE).exists():
        return settings
    waveforms = _some_clips(manifest, work, backbone)
    if not waveforms:
        return settings
    started = time.perf_counter()
    drift = measure(load(FULL), load(wanted), wanted, waveforms)
    note(
        f"{drift}{'' if drift.small else ', too far: fp32 is used'} (measured in {time.perf_counter() - started:.1f} s)"
    )
    _write_drift(verdict, drift)
    return replace(settings, precision=wanted if drift.small else FULL, drift=asdict(drift))


def read_drift(path: Path) -> Drift | None:
    """What an earlier run measured, if it can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Drift(str(stored["precision"]), int(stored["clips"]), tuple(map(float, stored["cosines"])))
    return None


def _write_drift(path: Path, drift: Drift) -> None:
    try:
        with atomic_write(path) as temporary:  # the shares of a run write it at the same time
            temporary.write_text(json.dumps(asdict(drift)) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror})") from error


def _file(manifest: Manifest, backbone: BackboneSpec, settings: Settings, cache: Path) -> Path:
    """The cache file of these settings."""
    return fp.cache_path(cache, manifest.name, settings.cache_spec(backbone))


def _some_clips(manifest: Manifest, work: Work, backbone: BackboneSpec) -> list[np.ndarray]:
    """Beginnings of up to `CLIPS` clips that are to be computed, spread over them."""
    good = work.todo[readable(work.contents.take(work.todo))].tolist()
    count = min(CLIPS, len(good))
    waveforms = []
    for row in (good[at * len(good) // count] for at in range(count)):
        start_s, duration_s = manifest.segment_of(row)
        shortened = CLIP_S if duration_s is None else min(CLIP_S, duration_s)
        shortened = min(shortened, work.contents[row].duration_s)
        with suppress(AudioError):  # the run itself will say so
            waveforms.append(read_waveform(manifest.path_of(row), backbone.sample_rate, start_s, shortened).samples)
    return waveforms
