"""The plan of a run: which clips are computed in which block and batch. Written first, obeyed by every resume."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from features import fingerprint as fp
from features.audio import resampled_length
from features.content import ClipContent
from features.locality import Extent, computing_order
from features.manifest import Manifest
from features.spec import BackboneSpec

PLAN_VERSION = 2
BLOCK_AUDIO_S = 600.0  # a block ends here even with few rows: what a kill may cost
BLOCK_FRAME_BYTES = 1 << 28  # frames a block holds in memory at most, when they are stored
_SIGNATURE_LENGTH = len('{"sha256":"",') + 64
BATCH_AUDIO_S = {"cpu": 20.0, "cuda": 320.0}
# A batch that holds this share of its budget takes no clip shorter than this share of its longest: of 200 spoken digits
# 8 % of what the model saw was padding then, and 13 % without.
WORTHWHILE, ALIKE = 0.25, 0.8


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """One clip to compute: where its audio lies and what it was when planned."""

    id: str
    key: str
    path: str
    start_s: float
    duration_s: float | None
    n_samples: int
    native_s: float
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Plan:
    """Blocks of batches of clips.

    Attributes:
        fingerprint: Of the cache file this is for.
        clips: The clips to compute.
        blocks: blocks[b][k] lists positions in `clips` that go through the model together.
        threads: Torch threads, which change results in their last bits.
        batch_s: Padded audio seconds a batch holds at most.
        failures: (id, key, reason) of clips known to be unreadable.
        precision: Of the model's arithmetic, resolved; it is in the fingerprint.
        compile: Whether the network is compiled, which changes results in their last bits.
    """

    fingerprint: str
    clips: tuple[PlannedClip, ...]
    blocks: tuple[tuple[tuple[int, ...], ...], ...]
    threads: int
    batch_s: float
    failures: tuple[tuple[str, str, str], ...]
    precision: str = "fp32"
    compile: bool = False

    def wanted(self) -> set[tuple[str, str]]:
        """(id, key) of every clip it covers, readable or not."""
        return {(clip.id, clip.key) for clip in self.clips} | {(clip, key) for clip, key, _ in self.failures}

    def located(self, manifest: Manifest, contents: Sequence[ClipContent]) -> Plan:
        """The same plan, with the same audio found where it lies now: files may have been moved or touched."""
        row_of = {clip: row for row, clip in enumerate(manifest.clips["id"])}
        clips = []
        for clip in self.clips:
            row = row_of[clip.id]
            content, path = contents[row], str(manifest.path_of(row))
            clips.append(replace(clip, path=path, size=content.size, mtime_ns=content.mtime_ns))
        failures = ((clip, key, contents[row_of[clip]].failure) for clip, key, _ in self.failures)
        return replace(self, clips=tuple(clips), failures=tuple(failures))

    def save(self, path: Path) -> None:
        """Write it as JSON, with a digest, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
        columns = {field.name: [getattr(clip, field.name) for clip in self.clips] for field in fields(PlannedClip)}
        stored = {"version": PLAN_VERSION, **{field.name: getattr(self, field.name) for field in fields(self)}}
        text = fp.canonical_json({**stored, "clips": columns})
        with temporary.open("w", encoding="utf-8") as file:
            file.write(_signed(text))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Plan | None:
        """Read it back; None where there is none that can be used."""
        try:
            written = path.read_text(encoding="utf-8")
            text = "{" + written[_SIGNATURE_LENGTH:]
            if written != _signed(text):
                return None
            stored: dict[str, Any] = json.loads(text)
            if stored["version"] != PLAN_VERSION:
                return None
            columns = [stored["clips"][field.name] for field in fields(PlannedClip)]
            return cls(
                fingerprint=stored["fingerprint"],
                clips=tuple(PlannedClip(*values) for values in zip(*columns, strict=True)),
                blocks=tuple(tuple(tuple(batch) for batch in block) for block in stored["blocks"]),
                threads=stored["threads"],
                batch_s=stored["batch_s"],
                failures=tuple((clip, key, reason) for clip, key, reason in stored["failures"]),
                precision=stored["precision"],
                compile=stored["compile"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _signed(text: str) -> str:
    """JSON with its own digest as the first key."""
    return f'{{"sha256":"{hashlib.sha256(text.encode()).hexdigest()}",{text[1:]}'


def make_plan(
    manifest: Manifest,
    rows: Sequence[int],
    contents: Sequence[ClipContent],
    spec: BackboneSpec,
    fingerprint: str,
    *,
    block_rows: int,
    batch_s: float,
    threads: int,
    keep_frames: bool,
    precision: str = "fp32",
    compile_network: bool = False,
) -> Plan:
    """Group clips of like length in the order of `features.locality`.

    Args:
        manifest: The clips.
        rows: Those to compute.
        contents: Of every manifest row.
        spec: The backbone's.
        fingerprint: Of the cache file.
        block_rows: Clips a block holds at most.
        batch_s: Padded seconds a batch holds at most; a clip that goes through in windows is one by itself.
        threads: Torch threads.
        keep_frames: Frames are stored, so a block must hold less audio to fit in memory.
        precision: Of the model's arithmetic, resolved.
        compile_network: Compile the network.
    """
    clips: list[PlannedClip] = []
    extents: list[Extent] = []
    failures = []
    for row in rows:
        content, clip = contents[row], str(manifest.clips["id"].iat[row])
        if content.failure:
            failures.append((clip, content.key, content.failure))
            continue
        start_s, duration_s = manifest.segment_of(row)
        clips.append(
            PlannedClip(
                id=clip,
                key=content.key,
                path=str(manifest.path_of(row)),
                start_s=start_s,
                duration_s=duration_s,
                n_samples=resampled_length(content.frames, content.sample_rate, spec.sample_rate),
                native_s=content.frames / content.sample_rate,
                size=content.size,
                mtime_ns=content.mtime_ns,
            )
        )
        stop = round(start_s * content.sample_rate) + content.frames
        extents.append(Extent(clip, clips[-1].path, clips[-1].n_samples, stop, bool(start_s) or duration_s is not None))
    clips = [clips[position] for position in computing_order(extents)]
    frame_bytes_per_s = 4 * spec.frame_rate * len(spec.layers) * spec.dim
    block_s = min(BLOCK_AUDIO_S, BLOCK_FRAME_BYTES / frame_bytes_per_s) if keep_frames else BLOCK_AUDIO_S
    lengths = [max(clip.n_samples, spec.min_samples) for clip in clips]
    blocks = _blocks(lengths, spec, block_rows, block_s, batch_s)
    failed = tuple(failures)
    return Plan(fingerprint, tuple(clips), blocks, threads, batch_s, failed, precision, compile_network)


def _blocks(
    lengths: Sequence[int], spec: BackboneSpec, block_rows: int, block_s: float, batch_s: float
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Cut clips into blocks of batches, where each clip is the longest of its batch or shorter than the one before."""
    blocks: list[list[tuple[int, ...]]] = []
    batch: list[int] = []
    rows_in_block, samples_in_block = block_rows, 0
    for position, length in enumerate(lengths):
        if rows_in_block >= block_rows or samples_in_block + length > block_s * spec.sample_rate:
            if batch:
                blocks[-1].append(tuple(batch))
            batch = []
            blocks.append([])
            rows_in_block = samples_in_block = 0
        full = batch and (len(batch) + 1) * lengths[batch[0]] > batch_s * spec.sample_rate
        worthwhile = batch and len(batch) * lengths[batch[0]] >= WORTHWHILE * batch_s * spec.sample_rate
        unlike = worthwhile and length < ALIKE * lengths[batch[0]]
        if batch and (full or unlike or length > lengths[batch[0]] or lengths[batch[0]] > spec.max_samples):
            blocks[-1].append(tuple(batch))
            batch = []
        batch.append(position)
        rows_in_block += 1
        samples_in_block += length
    if batch:
        blocks[-1].append(tuple(batch))
    return tuple(tuple(block) for block in blocks)
