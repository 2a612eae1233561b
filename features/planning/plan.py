"""The plan of a run: which clips are computed in which block and batch. It is written first and used by each resume."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.audio.decoding import resampled_length
from features.backbones import get_family
from features.manifest import Manifest
from features.planning.ordering import Extent, computing_order
from features.records import Records
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store.content_keys import ClipContent, readable
from features.system.atomic_write import atomic_write

PLAN_VERSION = 3
BLOCK_AUDIO_S = 600.0  # a block's limit in seconds of audio: an interrupted run loses at most one block
BLOCK_FRAME_BYTES = 1 << 28  # limit of a block's frames in memory, if frames are stored
_SIGNATURE = b'{"sha256":"%b",'
_SIGNATURE_LENGTH = len(_SIGNATURE % bytes(64))
BATCH_AUDIO_S = {"cpu": 20.0, "cuda": 320.0}
# A batch filled to at least WORTHWHILE of its budget takes no clip shorter than ALIKE of its longest. For 200 spoken
# digits this reduces padding from 13 % to 8 % of the model's input.
WORTHWHILE, ALIKE = 0.25, 0.8


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """One clip to compute: the location of its audio and its state when planned.

    Attributes:
        id: Clip id.
        key: Content key.
        path: Its file.
        start_s: Start of the segment in seconds.
        duration_s: Length of the segment in seconds; None for the end of the file.
        n_samples: Length at the model's sample rate.
        native_s: Length in seconds.
        size: Size of the file in bytes.
        mtime_ns: Modification time of the file.
    """

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
        fingerprint: Fingerprint of the cache file.
        clips: The clips to compute.
        blocks: blocks[b][k] are the positions in `clips` that form one batch; positions are in ascending order.
        threads: Torch threads, which change the last bits of results.
        batch_s: Padded audio seconds a batch holds at most.
        failures: (id, key, reason) of clips known to be unreadable.
        precision: The resolved precision of the model's arithmetic; it is part of the fingerprint.
        compile: Whether the network is compiled, which changes the last bits of results.
    """

    fingerprint: str
    clips: Records[PlannedClip]
    blocks: tuple[tuple[range, ...], ...]
    threads: int
    batch_s: float
    failures: tuple[tuple[str, str, str], ...]
    precision: str = "fp32"
    compile: bool = False

    def audio_s(self, batch: range) -> float:
        """Return the seconds of audio in a batch."""
        return float(self.clips.numbers("native_s")[batch.start : batch.stop].sum())

    def wanted(self) -> pa.Table:
        """Return `id` and `key` of every clip in the plan, readable or not, sorted by `id`."""
        clips = self.clips.table.select(["id", "key"])
        failed = [{"id": clip, "key": key} for clip, key, _ in self.failures]
        return pa.concat_tables([clips, pa.Table.from_pylist(failed, clips.schema)]).sort_by("id")

    def is_for(self, manifest: Manifest, rows: np.ndarray, contents: Records[ClipContent]) -> bool:
        """Whether the plan covers exactly these clips with their present content.

        Args:
            manifest: The clips.
            rows: Rows of the manifest to compute.
            contents: The content of every manifest row.
        """
        wanted = self.wanted()
        ids = pa.array(manifest.clips["id"].iloc[rows], pa.large_string())
        return wanted.equals(pa.table([ids, contents.take(rows).texts("key")], wanted.schema).sort_by("id"))

    def located(self, manifest: Manifest, contents: Records[ClipContent]) -> Plan:
        """Return the plan with the present paths of its files, which may have been moved or touched."""
        ids = pa.array(manifest.clips["id"], pa.large_string())
        rows = pc.index_in(self.clips.texts("id"), ids)
        now = contents.take(rows)
        clips = self.clips.replace(
            path=pa.array(manifest.paths(), pa.large_string()).take(rows),
            **{name: now.table[name] for name in ("size", "mtime_ns")},
        )
        failed = contents.take(pc.index_in(pa.array([clip for clip, _, _ in self.failures], ids.type), ids))
        reasons = zip(self.failures, failed, strict=True)
        return replace(self, clips=clips, failures=tuple((clip, key, now.failure) for (clip, key, _), now in reasons))

    def save(self, path: Path, *, overwrite: bool = True) -> None:
        """Write the plan as JSON with a digest, atomically.

        Raises:
            FileExistsError: `overwrite` is false and a plan exists. Not raised on a file system without hard links.
        """
        path.parent.mkdir(exist_ok=True)
        digest = hashlib.sha256()
        with atomic_write(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
            file.write(_SIGNATURE % bytes(64))
            for line in self._lines():
                digest.update(line)
                file.write(line)
            file.seek(0)
            file.write(_SIGNATURE % digest.hexdigest().encode())

    def _lines(self) -> Iterator[bytes]:
        """Yield the JSON after the digest; clips come in lines of some hundreds, to limit memory use."""
        stored = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "clips"}
        sizes = [[len(batch) for batch in block] for block in self.blocks]
        about = fp.canonical_json({**stored, "version": PLAN_VERSION, "blocks": sizes})
        yield f'{about[1:-1]},"clips":['.encode()
        for number, piece in enumerate(self.clips.pieces()):
            yield f"{',' if number else ''}\n{fp.canonical_json(piece)}".encode()
        yield b"\n]}\n"

    @classmethod
    def load(cls, path: Path) -> Plan | None:
        """Read a plan; None if there is no valid plan of this version."""
        try:
            with path.open("rb") as file:
                signature = file.read(_SIGNATURE_LENGTH)
                if signature != _SIGNATURE % hashlib.file_digest(file, "sha256").hexdigest().encode():
                    return None
                file.seek(_SIGNATURE_LENGTH)
                stored: dict[str, Any] = json.loads(b"{%b]}" % next(file))
                if stored.pop("version") != PLAN_VERSION:
                    return None
                clips = Records.of_pieces(
                    PlannedClip, (json.loads(line.rstrip(b",\n")) for line in file if line != b"]}\n")
                )
            sizes, stored["blocks"] = stored["blocks"], ()
            if min(map(min, sizes), default=1) < 1 or sum(map(sum, sizes)) != len(clips) or stored["threads"] < 1:
                return None
            failures = tuple((clip, key, reason) for clip, key, reason in stored.pop("failures"))
            return cls(**{**stored, "clips": clips, "blocks": _as_ranges(sizes), "failures": failures})
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            return None
        except (RecursionError, StopIteration):
            return None


def default_batch_s(spec: BackboneSpec, device: str) -> float:
    """Return the default number of padded audio seconds per batch.

    Args:
        spec: The backbone's spec.
        device: The run's device. Some families compute on the CPU anyway.
    """
    family = get_family(spec.family)
    kind = family.runs_on(device).partition(":")[0]
    return family.batch_s.get(kind, BATCH_AUDIO_S.get(kind, BATCH_AUDIO_S["cpu"]))


def stated_digest(path: Path) -> bytes:
    """Return the digest at the start of a plan file; empty if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_SIGNATURE_LENGTH)
    except OSError:
        return b""


def make_plan(
    manifest: Manifest,
    rows: Sequence[int] | np.ndarray,
    contents: Records[ClipContent],
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
    """Plan blocks and batches of clips of similar length, in the order of `features.planning.ordering`.

    Args:
        manifest: The clips.
        rows: Rows of the manifest to compute.
        contents: The content of every manifest row.
        spec: The backbone's spec.
        fingerprint: Fingerprint of the cache file.
        block_rows: Clips a block holds at most.
        batch_s: Padded seconds a batch holds at most; a clip processed in windows is a batch by itself.
        threads: Torch threads.
        keep_frames: Whether frames are stored; a block then holds less audio, to fit in memory.
        precision: The resolved precision of the model's arithmetic.
        compile_network: Whether to compile the network.
    """
    rows = np.asarray(rows, np.int64)
    chosen, ids = contents.take(rows), manifest.clips["id"].iloc[rows]
    failed = tuple((clip, now.key, now.failure) for clip, now in zip(ids, chosen, strict=True) if now.failure)
    good = rows[readable(chosen)]
    clips = Records.of(PlannedClip, _planned(manifest, good, contents, spec.sample_rate))
    clips = clips.take(computing_order(Records.of(Extent, _extents(clips, contents.take(good)))))
    frame_bytes_per_s = 4 * spec.frame_rate * len(spec.layers) * spec.dim
    block_s = min(BLOCK_AUDIO_S, BLOCK_FRAME_BYTES / frame_bytes_per_s) if keep_frames else BLOCK_AUDIO_S
    lengths = np.maximum(clips.numbers("n_samples"), spec.min_samples).tolist()
    blocks = _as_ranges(_batch_sizes(lengths, spec, block_rows, block_s, batch_s))
    return Plan(fingerprint, clips, blocks, threads, batch_s, failed, precision, compile_network)


def _planned(
    manifest: Manifest, rows: np.ndarray, contents: Records[ClipContent], sample_rate: int
) -> Iterator[PlannedClip]:
    """Yield some rows of a manifest as planned clips for a model that takes `sample_rate` Hz."""
    starts, durations = (seconds[rows].tolist() for seconds in manifest.segments())
    paths = pa.array(manifest.paths(), pa.large_string()).take(rows)
    columns = manifest.clips["id"].iloc[rows], paths, starts, durations, contents.take(rows)
    for clip, path, start_s, duration_s, now in zip(*columns, strict=True):
        yield PlannedClip(
            id=clip,
            key=now.key,
            path=path.as_py(),
            start_s=start_s,
            duration_s=None if math.isnan(duration_s) else duration_s,
            n_samples=resampled_length(now.frames, now.sample_rate, sample_rate),
            native_s=now.duration_s,
            size=now.size,
            mtime_ns=now.mtime_ns,
        )


def _extents(clips: Records[PlannedClip], contents: Records[ClipContent]) -> Iterator[Extent]:
    """Yield the properties that determine the order of clips."""
    for clip, now in zip(clips, contents, strict=True):
        is_segment = bool(clip.start_s) or clip.duration_s is not None
        stop = round(clip.start_s * now.sample_rate) + now.frames
        yield Extent(clip.id, clip.path, clip.n_samples, stop, is_segment)


def _batch_sizes(
    lengths: Sequence[int], spec: BackboneSpec, block_rows: int, block_s: float, batch_s: float
) -> list[list[int]]:
    """Divide clips into blocks of batches; within a batch, lengths do not increase."""
    blocks: list[list[int]] = []
    rows_in_block, samples_in_block, longest = block_rows, 0, 0
    for length in lengths:
        if rows_in_block >= block_rows or samples_in_block + length > block_s * spec.sample_rate:
            blocks.append([])
            rows_in_block = samples_in_block = 0
        count = blocks[-1][-1] if blocks[-1] else 0
        full = (count + 1) * longest > batch_s * spec.sample_rate
        worthwhile = count * longest >= WORTHWHILE * batch_s * spec.sample_rate
        unlike = worthwhile and length < ALIKE * longest
        if not count or full or unlike or length > longest or longest > spec.max_samples:
            blocks[-1].append(0)
            longest = length
        blocks[-1][-1] += 1
        rows_in_block += 1
        samples_in_block += length
    return blocks


def _as_ranges(blocks: Iterable[Iterable[int]]) -> tuple[tuple[range, ...], ...]:
    """Convert the batch sizes of each block to ranges of positions."""
    first, ranges = 0, []
    for block in blocks:
        starts = list(accumulate(block, initial=first))
        ranges.append(tuple(map(range, starts, starts[1:])))
        first = starts[-1]
    return tuple(ranges)
