"""Inputs of stage 2: cached embeddings joined to the manifest by id, and the clips excluded from scoring."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from features.corpus import Corpus, knowing
from features.errors import CacheError, UserError
from features.manifest import Manifest
from features.pooling import POOLINGS
from features.records import Records
from features.store.content_keys import ClipContent
from features.store.frames import ClipFrames
from features.store.table import EmbeddingTable, open_table
from heads.batched.frame_blocks import ClipLayers
from pipeline.config.config import Config
from pipeline.recordings.background import Background, background_of
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
        background: Windows of background; None: the experiment has none.
        silent: Windows of background that all models can use, ascending.
        added: Those of them that join training and validation, ascending.
    """

    tables: dict[str, EmbeddingTable]
    contents: Records[ClipContent]
    failures: dict[str, str]
    background: Background | None = None
    silent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    added: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def read_inputs(config: Config, corpus: Corpus) -> Inputs:
    """Open the cache files that stage 1 wrote for this config.

    Raises:
        UserError: Stage 1 has not run with these settings, or lacks clips; the message has the command to run.
        CacheError: A file is damaged.
    """
    # A file's structure is checked here; each array is checked when it is read.
    tables = {label: open_table(path) for label, path in cached_files(config).items()}
    inputs = inputs_from(config, corpus, tables, _input_tables(config, corpus.manifest))
    usable, background = usable_rows(corpus.manifest, inputs.failures), inputs.background
    for table in tables.values():
        try:
            table_rows(table, corpus.manifest, corpus.contents, usable)
            if background is not None:
                table_rows(table, background.manifest, background.contents, inputs.silent)
        except CacheError as error:
            raise UserError(f"{error}; run `{config.command('features')}`") from error
    return inputs


def inputs_from(
    config: Config, corpus: Corpus, tables: Mapping[str, EmbeddingTable], input_tables: Sequence[EmbeddingTable]
) -> Inputs:
    """Return the cached data of some embeddings, without the clips and windows that failed in them or in the inputs.

    Args:
        config: The experiment.
        corpus: Its clips, and the windows of background.
        tables: Embeddings by backbone label.
        input_tables: Inputs of models trained end to end.
    """
    every = [*tables.values(), *input_tables]
    inputs = Inputs(dict(tables), corpus.contents, failures_of(corpus, every), background_of(corpus))
    background = inputs.background
    if background is None:
        return inputs
    windows = knowing(Corpus(background.manifest, corpus.folder), background.contents)
    silent = background.rows("train", "valid", "test", failures=failures_of(windows, every))
    added = background.rows("train", "valid") if "train" in config.background_in else silent[:0]
    return replace(inputs, silent=silent, added=np.intersect1d(added, silent))


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

    The windows of `inputs.added` follow the clips. Embeddings are read from the cache one layer at a time. For the
    pooling `frames`, return frames, which stay on disk if they do not fit in memory.

    Raises:
        CacheError: A clip is missing, or its audio has changed.
    """
    ids, keys = stored_identities(manifest, inputs)
    return _features(table, poolings, ids, keys, stored_rows(manifest, inputs), len(manifest) + len(inputs.added))


def stored_rows(manifest: Manifest, inputs: Inputs) -> np.ndarray:
    """Return the rows that models train and are tested on, ascending.

    They are those of the usable clips in the manifest, and the numbers after the manifest for the windows of
    `inputs.added`.
    """
    return np.append(usable_rows(manifest, inputs.failures), len(manifest) + np.arange(len(inputs.added)))


def stored_identities(manifest: Manifest, inputs: Inputs) -> tuple[list[str], list[str]]:
    """Return the ids and the content keys of `stored_rows`."""
    ids, keys = _identities(manifest, inputs.contents, usable_rows(manifest, inputs.failures))
    if not len(inputs.added):
        return ids, keys
    added_ids, added_keys = window_identities(inputs, inputs.added)
    return ids + added_ids, keys + added_keys


def background_features(table: EmbeddingTable, poolings: Sequence[str], inputs: Inputs) -> StoredVectors | ClipLayers:
    """Return the embeddings of the windows of `inputs.silent`, as `features_of` does those of clips.

    Raises:
        CacheError: A window is missing, or its audio has changed.
    """
    ids, keys = window_identities(inputs, inputs.silent)
    return _features(table, poolings, ids, keys, np.arange(len(ids)), len(ids))


def window_identities(inputs: Inputs, rows: np.ndarray) -> tuple[list[str], list[str]]:
    """Return ids and content keys of some windows of background."""
    assert inputs.background is not None
    return _identities(inputs.background.manifest, inputs.background.contents, rows)


def _identities(manifest: Manifest, contents: Records[ClipContent], rows: np.ndarray) -> tuple[list[str], list[str]]:
    """Return ids and content keys of some rows."""
    return manifest.clips["id"].iloc[rows].tolist(), contents.take(rows).texts("key").to_pylist()


def _features(
    table: EmbeddingTable,
    poolings: Sequence[str],
    ids: Sequence[str],
    keys: Sequence[str],
    places: np.ndarray,
    n_rows: int,
) -> StoredVectors | ClipLayers:
    """Return embeddings of n clips by id at some places among `n_rows` rows; the other rows have none."""
    rows = np.full(n_rows, -1, np.int64)
    if list(poolings) == ["frames"]:
        rows[places] = np.arange(len(places))
        return ClipLayers(ClipFrames(table, ids, keys), rows, table.cache_spec["frames"]["layers"])
    rows[places] = table.rows(ids, keys)
    return StoredVectors(table, [pooling for pooling in POOLINGS if pooling in poolings], rows)
