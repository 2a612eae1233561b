"""What stage 2 reads: cached embeddings joined to the manifest by id, and the clips that no model may be scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.errors import CacheError, UserError
from features.manifest import Manifest
from features.planning.worklist import known_failures
from features.pooling import POOLINGS
from features.records import Records
from features.store.content_keys import ClipContent, clip_contents
from features.store.frames import ClipFrames
from features.store.table import EmbeddingTable, open_table
from heads.batched.frame_blocks import ClipLayers
from pipeline.config.config import Config
from pipeline.results.features_index import cached_files


@dataclass(frozen=True)
class Inputs:
    """The cached side of an experiment.

    Attributes:
        tables: By backbone label.
        contents: Of every manifest row.
        failures: id -> reason of clips that at least one model cannot use, those of `finetune` included
            whose inputs are cached; they are in no score.
    """

    tables: dict[str, EmbeddingTable]
    contents: Records[ClipContent]
    failures: dict[str, str]


def read_inputs(config: Config, manifest: Manifest) -> Inputs:
    """Open the cache files that stage 1 made for this config.

    Raises:
        UserError: Stage 1 has not run with these settings, or lacks clips; the message has the command.
        CacheError: A file is damaged.
    """
    # The structure of a file is checked here, each array when it is read.
    tables = {label: open_table(path) for label, path in cached_files(config).items()}
    contents = clip_contents(manifest, config.output.cache / manifest.name)
    failures: dict[str, str] = {}
    for table in tables.values():
        failures |= known_failures(table, manifest, contents)
    if config.finetune:
        from pipeline.stages.finetune_inputs_cache import input_failures

        failures |= input_failures(config, manifest, contents)
    usable = [row for row, clip in enumerate(manifest.clips["id"]) if clip not in failures]
    for table in tables.values():
        try:
            table_rows(table, manifest, contents, usable)
        except CacheError as error:
            raise UserError(f"{error}; run `{config.command('features')}`") from error
    return Inputs(tables, contents, failures)


def table_rows(
    table: EmbeddingTable, manifest: Manifest, contents: Records[ClipContent], rows: Sequence[int]
) -> np.ndarray:
    """Where some manifest rows lie in a table, their content keys checked.

    Raises:
        CacheError: A clip is missing, or its audio has changed.
    """
    ids = manifest.clips["id"]
    return table.rows(ids.iloc[list(rows)].tolist(), contents.take(rows).texts("key").to_pylist())


def features_of(
    table: EmbeddingTable, poolings: Sequence[str], manifest: Manifest, inputs: Inputs
) -> np.ndarray | ClipLayers:
    """Embeddings in manifest order, the poolings concatenated: (N, L, D·P) float32; NaN for failed clips.

    Of the pooling `frames` alone, they are frames, which stay on disk where memory is short.
    """
    usable = [row for row, clip in enumerate(manifest.clips["id"]) if clip not in inputs.failures]
    if list(poolings) == ["frames"]:
        keys = inputs.contents.take(usable).texts("key").to_pylist()
        stored = ClipFrames(table, manifest.clips["id"].iloc[usable].tolist(), keys)
        clips = np.full(len(manifest), -1, dtype=np.int64)
        clips[usable] = np.arange(len(usable))
        return ClipLayers(stored, clips, table.cache_spec["frames"]["layers"])
    at = table_rows(table, manifest, inputs.contents, usable)
    wanted = [pooling for pooling in POOLINGS if pooling in poolings]
    parts = [table.embeddings(pooling)[at] for pooling in wanted]
    values = np.full((len(manifest), parts[0].shape[1], sum(part.shape[2] for part in parts)), np.nan, np.float32)
    values[usable] = np.concatenate(parts, axis=2)
    return values
