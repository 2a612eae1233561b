"""`audioheads cache export`: write the embeddings of an experiment with ids and labels, for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from features.corpus import Corpus
from features.datasets import load_manifest
from features.errors import CacheError, ConfigError
from features.manifest import Manifest
from features.store.content_keys import ClipContent
from features.store.iterate import stored_order, stream
from features.store.table import EmbeddingTable
from features.store.verify import check_all_values, verify_table
from pipeline.cache.export_formats import WRITERS, Embeddings
from pipeline.cache.prune import size_text
from pipeline.config.config import Config, label_of
from pipeline.config.errors import closest
from pipeline.console import Console
from pipeline.results.run_folder import file_name, write_json
from pipeline.results.table import counted
from pipeline.stages.inputs import read_inputs


def run_export(
    config: Config,
    *,
    file_format: str,
    output: Path | None,
    backbones: Sequence[str],
    poolings: Sequence[str],
    layers: str,
    console: Console,
) -> list[Path]:
    """Write the embeddings of an experiment's clips: one file per backbone, and a JSON file that describes it.

    Clips are joined to their labels by id and keep the order of the cache.

    Args:
        config: The experiment; stage 1 must be finished.
        file_format: One of `pipeline.cache.export_formats.WRITERS`.
        output: The output folder; None: `embeddings` in the run folder.
        backbones: Labels of the backbones to export; empty: all.
        poolings: Cached poolings to export, including `frames`; empty: all but frames, or frames if nothing else is
            cached.
        layers: `all`, `last`, or numbers such as `0,3,12`.
        console: Prints what was written.

    Returns:
        The paths of the embedding files.

    Raises:
        UserError: Stage 1 is not finished, or a backbone, pooling or layer does not exist.
        CacheError: A cache file is damaged.
        RunError: A file cannot be written.
    """
    if file_format not in WRITERS:
        raise ConfigError(f"cache export: unknown format {file_format!r}, {closest(file_format, WRITERS)}")
    known = [label_of(options) for options in config.features.backbones]
    for label in backbones:
        if label not in known:
            raise ConfigError(f"cache export: unknown backbone {label!r}, {closest(label, known)}")
    manifest = load_manifest(config.dataset.model_dump())
    inputs = read_inputs(config, Corpus(manifest, config.output.cache / manifest.name))
    folder = output or config.run_dir / "embeddings"
    written: list[Path] = []
    for label in backbones or known:
        table = verify_table(inputs.tables[label].path)  # checks every byte, because streaming does not check again
        check_all_values(table)
        data, about = select(table, manifest, inputs.contents, poolings, layers)
        stem = folder / file_name(label)
        files = WRITERS[file_format](stem, data)
        left_out = sorted(set(manifest.clips["id"]) - set(data.clips["id"]))
        about = {"format": file_format, "backbone": label, "files": [file.name for file in files], **about}
        write_json(stem.with_name(f"{stem.name}.{file_format}.json"), {**about, "left_out": left_out})
        written += files
        missing = f", {counted(len(left_out), 'failed clip')} left out" if left_out else ""
        size = sum(file.stat().st_size for file in files)
        console.line(
            f"{label}: {counted(len(data.clips), 'clip')}{missing}, {'+'.join(about['poolings'])}, "
            f"{counted(len(data.layers), 'layer')} × {data.dim}, {size_text(size)} → {files[0]}"
            f"{f' … {files[-1].name}' if len(files) > 1 else ''}"
        )
    return written


def select(
    table: EmbeddingTable,
    manifest: Manifest,
    contents: Sequence[ClipContent],
    poolings: Sequence[str],
    layers: str,
) -> tuple[Embeddings, dict[str, Any]]:
    """Select what to export from a table, and describe it.

    Raises:
        ConfigError: A pooling or layer is not in the table.
    """
    kept = table.cache_spec["frames"]
    there = [*table.poolings, *(["frames"] if kept else [])]
    wanted = list(dict.fromkeys(poolings)) or table.poolings or there
    for name in wanted:
        if name not in there:
            raise ConfigError(
                f"cache export: {table.path} contains no pooling {name!r}; it contains {', '.join(there)}"
            )
    vectors, frames = tuple(name for name in wanted if name != "frames"), "frames" in wanted
    held = list(kept["layers"]) if frames else list(table.spec.layers)
    if frames and vectors and held != list(table.spec.layers):
        raise ConfigError("cache export: frames have fewer layers than vectors; export them separately, with --pooling")
    chosen = choose_layers(layers, held)
    known = table.present()
    ids = manifest.clips["id"].tolist()
    usable = [row for row, clip in enumerate(ids) if contents[row].key and known.get(clip) == contents[row].key]
    if not usable:
        raise CacheError(f"{table.path} contains none of the clips")
    row_of = dict(zip(table.rows([ids[row] for row in usable]).tolist(), usable, strict=True))
    rows = stored_order(table, np.array(list(row_of), dtype=np.int64))
    columns = [name for name in ("id", "label", "fold", "split", "group") if name in manifest.clips]
    data = Embeddings(
        clips=manifest.clips.loc[[row_of[row] for row in rows.tolist()], columns].reset_index(drop=True),
        task=manifest.task,
        classes=tuple(manifest.labels),
        layers=tuple(chosen),
        dim=table.spec.dim,
        poolings=vectors,
        n_frames=table.n_frames[rows] if frames else None,
        pieces=partial(stream, table, rows, vectors, [held.index(layer) for layer in chosen], frames=frames),
    )
    about = {
        "dataset": manifest.name,
        "weights": "untrained" if table.spec.untrained else table.spec.weights,
        "weights_sha256": table.spec.weights_sha256,
        "fingerprint": table.fingerprint,
        "task": manifest.task,
        "classes": list(data.classes),
        "n_clips": len(data.clips),
        "poolings": wanted,
        "layers": chosen,
        "dim": data.dim,
        "frame_rate_hz": table.spec.frame_rate,
    }
    return data, about


def choose_layers(text: str, held: Sequence[int]) -> list[int]:
    """Parse `all`, `last` or comma-separated numbers into numbers of cached layers.

    Raises:
        ConfigError: The text is anything else, or names a layer that is not cached.
    """
    if text in ("all", "last"):
        return list(held if text == "all" else held[-1:])
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or not set(map(int, parts)) <= set(held):
        raise ConfigError(
            f"--layers {text!r}: use all, last, or a comma-separated selection of {', '.join(map(str, held))}"
        )
    return list(dict.fromkeys(map(int, parts)))
