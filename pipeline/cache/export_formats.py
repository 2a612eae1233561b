"""Embedding files for other tools: Parquet, NPZ, WebDataset tar. All are written in batches."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from features.labels import Task
from features.store.iterate import Chunk
from pipeline.results.run_folder import write_whole

TAR_BYTES = 1 << 30  # approximate size of one tar


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of clips, with ids and labels.

    Attributes:
        clips: `id`, `label` and, where known, `fold`, `split`, `group`; in the row order of `pieces`.
        task: Kind of label.
        classes: Class names in their fixed order; empty for regression.
        layers: Layer numbers.
        dim: Vector dimension D.
        poolings: Names of the pooled vectors.
        n_frames: (N,) frame counts of the clips if frames are exported, else None.
        pieces: Returns an iterator over batches of values that starts at the first clip.
    """

    clips: pd.DataFrame
    task: Task
    classes: tuple[str, ...]
    layers: tuple[int, ...]
    dim: int
    poolings: tuple[str, ...]
    n_frames: np.ndarray | None
    pieces: Callable[[], Iterator[Chunk]]

    def targets(self) -> np.ndarray:
        """Return (N,) int64 class numbers, (N, C) uint8 for multi-label, or (N,) float64 for regression."""
        labels = self.clips["label"]
        if self.task == "regression":
            return labels.to_numpy(np.float64)
        number = {name: position for position, name in enumerate(self.classes)}
        if self.task == "single-label":
            return labels.map(number).to_numpy(np.int64)
        targets = np.zeros((len(labels), len(self.classes)), np.uint8)
        for row, names in enumerate(labels):
            targets[row, [number[name] for name in names]] = 1
        return targets


def write_parquet(stem: Path, data: Embeddings) -> list[Path]:
    """Write one row per clip and one column of D float32 per pooling and layer (`mean_layer3`); frames are lists."""
    vector = pa.list_(pa.float32(), data.dim)
    kinds = [(name, vector) for name in data.poolings]
    kinds += [] if data.n_frames is None else [("frames", pa.list_(vector))]
    texts = pa.Table.from_pandas(data.clips, preserve_index=False).replace_schema_metadata(None)
    columns = [pa.field(f"{name}_layer{layer}", kind) for name, kind in kinds for layer in data.layers]
    schema = pa.schema([*texts.schema, *columns])

    def write(path: Path) -> None:
        at = 0
        with pq.ParquetWriter(
            path, schema, use_dictionary=["label", "split", "group"]
        ) as file:  # dictionary encoding does not help vectors
            for piece in data.pieces():
                count = len(piece.rows)
                arrays: list[Any] = [column.combine_chunks() for column in texts.slice(at, count).columns]
                for name in data.poolings:
                    for position in range(len(data.layers)):
                        arrays.append(_vectors(piece.pooled[name][:, position]))
                for position in range(len(data.layers)) if piece.frames is not None else ():
                    offsets = np.cumsum([0, *map(len, piece.frames or ())], dtype=np.int32)
                    flat = np.concatenate([frames[:, position] for frames in piece.frames or ()])
                    arrays.append(pa.ListArray.from_arrays(offsets, _vectors(flat)))
                file.write_table(pa.Table.from_arrays(arrays, schema=schema))
                at += count

    path = stem.with_name(f"{stem.name}.parquet")
    write_whole(path, write)
    return [path]


def write_npz(stem: Path, data: Embeddings) -> list[Path]:
    """Write `id`, `target`, `classes`, `layers`, (N, L, D) per pooling; `frames` (ΣF, L, D), `frames_offsets`."""
    small: dict[str, np.ndarray] = {
        "id": data.clips["id"].to_numpy(str),
        "target": data.targets(),
        "classes": np.array(data.classes, dtype=str),
        "layers": np.array(data.layers, np.int64),
    }
    for column in ("fold", "split", "group"):
        if column in data.clips:
            values = data.clips[column].to_numpy()
            small[column] = values if values.dtype.kind in "iu" else values.astype(str)
    if data.n_frames is not None:
        small["frames_offsets"] = np.concatenate([[0], np.cumsum(data.n_frames, dtype=np.int64)])

    def write(path: Path) -> None:
        shape = (len(data.clips), len(data.layers), data.dim)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, values in small.items():
                with archive.open(f"{name}.npy", "w") as file:
                    npy.write_array(file, values, allow_pickle=False)
            for name in data.poolings:
                chunks = (piece.pooled[name] for piece in data.pieces())
                _append(archive, name, shape, np.dtype("f4"), chunks)
            if data.n_frames is not None:
                first = next((piece.frames[0] for piece in data.pieces() if piece.frames), np.empty(0, "f4"))
                total = (int(data.n_frames.sum()), *shape[1:])
                every = (frames for piece in data.pieces() for frames in piece.frames or ())
                _append(archive, "frames", total, first.dtype, every)

    path = stem.with_name(f"{stem.name}.npz")
    write_whole(path, write)
    return [path]


def write_webdataset(stem: Path, data: Embeddings) -> list[Path]:
    """Write tars with `N.json` (id, label, …), `N.cls` (class number), `N.mean.npy` (L, D), `N.frames.npy`."""
    samples = _samples(data)
    paths: list[Path] = []
    left = next(samples, None)

    def write(path: Path) -> None:
        nonlocal left
        written = 0
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            while left is not None and written < TAR_BYTES:
                for name, content in left:
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
                    written += len(content)
                left = next(samples, None)

    while left is not None or not paths:
        paths.append(stem.with_name(f"{stem.name}-{len(paths):06d}.tar"))
        write_whole(paths[-1], write)
    for other in stem.parent.glob(
        "*.tar"
    ):  # remove surplus tars of an earlier export, which would be read as part of this set
        if re.fullmatch(rf"{re.escape(stem.name)}-\d{{6}}\.tar", other.name) and other not in paths:
            other.unlink()
    return paths


WRITERS: dict[str, Callable[[Path, Embeddings], list[Path]]] = {
    "parquet": write_parquet,
    "npz": write_npz,
    "webdataset": write_webdataset,
}


def _samples(data: Embeddings) -> Iterator[list[tuple[str, bytes]]]:
    """Yield (file name, content) of each clip's files. Keys contain no dot, because WebDataset ends a key there."""
    targets = data.targets()
    records = data.clips.to_dict("records")
    at = 0
    for piece in data.pieces():
        for position in range(len(piece.rows)):
            key = f"{at:08d}"
            files = [(f"{key}.json", json.dumps(records[at], ensure_ascii=False).encode())]
            if data.task == "single-label":
                files.append((f"{key}.cls", str(targets[at]).encode()))
            files += [(f"{key}.{name}.npy", _npy(piece.pooled[name][position])) for name in data.poolings]
            if piece.frames is not None:
                files.append((f"{key}.frames.npy", _npy(piece.frames[position])))
            yield files
            at += 1


def _vectors(values: np.ndarray) -> pa.FixedSizeListArray:
    """Convert an (n, D) array to an Arrow column of D float32 values per row."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])


def _append(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype, chunks: Iterator[np.ndarray]
) -> None:
    """Write an array into an NPZ archive, chunk by chunk."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_2_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype).data if chunk.size else b"")


def _npy(values: np.ndarray) -> bytes:
    """Return an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    npy.write_array(buffer, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()
