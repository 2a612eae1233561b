"""Inputs of stage 2: cached embeddings joined to the manifest by id, and the clips excluded from scoring."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from features.corpus import Corpus
from features.errors import CacheError, UserError
from features.manifest import Manifest
from features.pooling import POOLINGS
from features.records import Records
from features.store.content_keys import ClipContent
from features.store.frames import ClipFrames
from features.store.table import EmbeddingTable, open_table
from heads.batched.frame_blocks import ClipLayers
from pipeline.config.config import Config
from pipeline.results.features_index import cached_files
from pipeline.stages.stored_vectors import StoredVectors


@dataclass(frozen=True)
class Inputs:
    """The cached data of an experiment.

    Attributes:
        tables: Embeddings by backbone label.
        contents: Content of every manifest row.
        failures: id -> reason of clips that at least one model cannot use, including models of `finetune`
            whose inputs are cached. These clips are excluded from all scores.
    """

    tables: dict[str, EmbeddingTable]
    contents: Records[ClipContent]
    failures: dict[str, str]


def read_inputs(config: Config, corpus: Corpus) -> Inputs:
    """Open the cache files that stage 1 wrote for this config.

    Raises:
        UserError: Stage 1 has not run with these settings, or lacks clips; the message has the command to run.
        CacheError: A file is damaged.
    """
    # A file's structure is checked here; each array is checked when it is read.
    tables = {label: open_table(path) for label, path in cached_files(config).items()}
    failures = failures_of(corpus, [*tables.values(), *_input_tables(config, corpus.manifest)])
    usable = usable_rows(corpus.manifest, failures)
    for table in tables.values():
        try:
            table_rows(table, corpus.manifest, corpus.contents, usable)
        except CacheError as error:
            raise UserError(f"{error}; run `{config.command('features')}`") from error
    return Inputs(tables, corpus.contents, failures)


def _input_tables(config: Config, manifest: Manifest) -> list[EmbeddingTable]:
    """Return the cached inputs of models trained end to end, if the config has such models."""
    if not config.finetune:
        return []
    from pipeline.stages.finetune_inputs_cache import cached_inputs

    return cached_inputs(config, manifest)


def failures_of(corpus: Corpus, tables: Iterable[EmbeddingTable]) -> dict[str, str]:
    """Return clips that failed in at least one cache file: id -> reason. No model is scored on them."""
    return {clip: reason for table in tables for clip, reason in corpus.failures_in(table).items()}


def usable_rows(manifest: Manifest, failures: Container[str]) -> np.ndarray:
    """Return the manifest rows that all models can use, ascending."""
    return np.array([row for row, clip in enumerate(manifest.clips["id"]) if clip not in failures], np.int64)


def table_rows(
    table: EmbeddingTable, manifest: Manifest, contents: Records[ClipContent], rows: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Return the positions of some manifest rows in a table, after checking their content keys.

    Raises:
        CacheError: A clip is missing, or its audio has changed.
    """
    ids = manifest.clips["id"].iloc[np.asarray(rows, np.int64)]
    return table.rows(ids.tolist(), contents.take(rows).texts("key").to_pylist())


def features_of(
    table: EmbeddingTable, poolings: Sequence[str], manifest: Manifest, inputs: Inputs
) -> StoredVectors | ClipLayers:
    """Return embeddings in manifest order with concatenated poolings, (N, L, D·P); NaN for failed clips.

    They are read from the cache one layer at a time. For the pooling `frames`, return frames, which stay on disk if
    they do not fit in memory.

    Raises:
        CacheError: A clip is missing, or its audio has changed.
    """
    usable = usable_rows(manifest, inputs.failures)
    if list(poolings) == ["frames"]:
        keys = inputs.contents.take(usable).texts("key").to_pylist()
        stored = ClipFrames(table, manifest.clips["id"].iloc[usable].tolist(), keys)
        clips = np.full(len(manifest), -1, dtype=np.int64)
        clips[usable] = np.arange(len(usable))
        return ClipLayers(stored, clips, table.cache_spec["frames"]["layers"])
    at = table_rows(table, manifest, inputs.contents, usable)
    rows = np.full(len(manifest), -1, np.int64)
    rows[usable] = at
    return StoredVectors(table, [pooling for pooling in POOLINGS if pooling in poolings], rows)
