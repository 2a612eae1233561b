"""Find near-duplicate clips of an experiment by comparing cached embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from features.audio.decoding import read_waveform
from features.errors import AudioError, CacheError, decoder_error
from features.manifest import Manifest
from features.store.content_keys import ClipContent
from features.store.table import EmbeddingTable
from features.system.attempts import Attempts
from heads.splits.groups import unique_keys
from pipeline.audit.leaks import across
from pipeline.audit.similar_pairs import NOTHING, Pairs, directions, similar_pairs

SIMILARITY = 0.98  # reached by one of 79,800 pairs of ESC-10 and one of 4.5 million of FSDD, by MFCC or YAMNet
TOO_MANY = 1_000_000  # pairs by one backbone: too many to keep in memory or to be useful
LISTED = 1000  # pairs listed by name; all are counted
DECODED = 200  # maximum number of pairs whose samples are compared
MIN_DIMS = 16  # with fewer dimensions, different clips are similar by chance
ALIKE = 0.9999  # files with the same samples are at least this similar


@dataclass(frozen=True)
class NearPair:
    """Two clips that sound alike.

    Attributes:
        rows: Their positions in the manifest, ascending.
        similarity: Cosine of their standardised embeddings, by the backbone with the highest value.
        backbone: Label of that backbone.
        across: Whether one is in the test set and the other in training or validation of the same split.
        same_samples: Whether both decode to the same samples, from different files.
    """

    rows: tuple[int, int]
    similarity: float
    backbone: str
    across: bool
    same_samples: bool = False


@dataclass
class NearDuplicates:
    """Near-duplicates, and how they were found.

    Attributes:
        threshold: The lowest similarity that counts.
        compared: By backbone label: layer, pooling and number of compared clips.
        skipped: By backbone label: why it was not used.
        n_pairs: Number of pairs, without those of identical files.
        n_across: Number of those with one clip in test and the other in training or validation.
        pairs: Listed pairs: those across sides first, then by falling similarity.
    """

    threshold: float
    compared: dict[str, dict[str, object]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    n_pairs: int = 0
    n_across: int = 0
    pairs: list[NearPair] = field(default_factory=list)


def find_near_duplicates(
    manifest: Manifest,
    tables: dict[str, EmbeddingTable],
    contents: Sequence[ClipContent],
    sides: np.ndarray,
    threshold: float = SIMILARITY,
    marks: Path | None = None,
) -> NearDuplicates:
    """Compare all pairs of clips by every backbone with cached embeddings.

    The middle layer is compared, by its first pooling (`mean` if available). Clips that were not embedded or whose
    audio changed since are left out. Files with identical bytes are left out, because they are reported elsewhere.

    Args:
        manifest: The clips.
        tables: Cache tables by backbone label.
        contents: File content of every manifest row.
        sides: Shape (S, N), from `pipeline.audit.leaks.sides_of`.
        threshold: The lowest cosine that counts.
        marks: Folder in which the files being decoded are marked, see `features.system.attempts`; None for no marks.
    """
    found = NearDuplicates(threshold)
    codes = pd.factorize(unique_keys([content.key for content in contents]))[0]
    frames = []
    for label, table in tables.items():
        try:
            rows, vectors, about = _vectors(table, manifest, contents)
        except CacheError as error:
            found.skipped[label] = str(error)
            continue
        if vectors.shape[1] < MIN_DIMS:
            found.skipped[label] = (
                f"its embeddings have only {vectors.shape[1]} dimensions that vary, at least {MIN_DIMS} are needed"
            )
            continue
        found.compared[label] = about
        own: list[pd.DataFrame] = []
        for block in similar_pairs(vectors, threshold):
            own.append(_table(block, rows, codes, sides, label))
            if sum(map(len, own)) > TOO_MANY:
                found.skipped[label] = (
                    f"it finds more than {TOO_MANY:,} similar pairs, so it does not separate the clips"
                )
                del found.compared[label]
                own = []
                break
        frames += own
    pairs = pd.concat(frames, ignore_index=True) if frames else _table(NOTHING, np.arange(0), codes, sides, "")
    pairs = pairs.sort_values(["across", "similarity", "first", "second"], ascending=[False, False, True, True])
    pairs = pairs.drop_duplicates(["first", "second"])
    found.n_pairs, found.n_across = len(pairs), int(pairs["across"].sum())
    with Attempts(marks) as attempts:
        for at, (first, second, similarity, crosses, backbone) in enumerate(pairs.head(LISTED).itertuples(index=False)):
            same = at < DECODED and similarity >= ALIKE and _same_samples(manifest, contents, first, second, attempts)
            found.pairs.append(NearPair((first, second), similarity, backbone, crosses, same))
    return found


def _vectors(
    table: EmbeddingTable, manifest: Manifest, contents: Sequence[ClipContent]
) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    """Return the manifest rows that are cached with their present audio, their directions, and layer and pooling."""
    keys = dict(zip(table.ids, table.keys, strict=True))
    ids = manifest.clips["id"].tolist()
    rows = [row for row, clip in enumerate(ids) if contents[row].key and keys.get(clip) == contents[row].key]
    if not table.poolings:
        raise CacheError("its cache contains frames only; add `mean` to features.pooling")
    if not rows:
        raise CacheError("its cache contains none of these clips")
    pooling = table.poolings[0]
    layer = len(table.spec.layers) // 2
    values = table.layer(pooling, layer, table.rows([ids[row] for row in rows]))
    about: dict[str, object] = {"layer": table.spec.layers[layer], "pooling": pooling, "clips": len(rows)}
    return np.array(rows, dtype=np.int64), directions(values), about


def _table(block: Pairs, rows: np.ndarray, codes: np.ndarray, sides: np.ndarray, backbone: str) -> pd.DataFrame:
    """Return the pairs of one block as manifest rows, without pairs that share a content key."""
    one, other = rows[block.first], rows[block.second]
    differ = codes[one] != codes[other]
    one, other = one[differ], other[differ]
    return pd.DataFrame(
        {
            "first": one,
            "second": other,
            "similarity": block.similarity[differ],
            "across": across(sides, one, other),
            "backbone": backbone,
        }
    )


def _same_samples(
    manifest: Manifest, contents: Sequence[ClipContent], one: int, other: int, attempts: Attempts
) -> bool:
    """Return whether two clips decode to the same samples at their original rate."""
    shapes = {(contents[row].frames, contents[row].sample_rate) for row in (one, other)}
    if len(shapes) > 1:
        return False
    try:
        first, second = (_samples(manifest, contents[row], row, attempts) for row in (one, other))
    except AudioError:
        return False
    return np.array_equal(first, second)


def _samples(manifest: Manifest, content: ClipContent, row: int, attempts: Attempts) -> np.ndarray:
    """Return the samples of a clip at their original rate."""
    path, segment = manifest.path_of(row), manifest.segment_of(row)
    with attempts.attempt(content.file_key) as isolated:
        try:
            return read_waveform(path, content.sample_rate, *segment, isolated=isolated).samples
        except AudioError:
            raise
        except Exception as error:  # whatever a decoder raises costs this comparison
            raise decoder_error(error) from error
