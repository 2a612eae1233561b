"""Near-duplicates of an experiment's clips, by the embeddings that are cached already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from features.audio.decoding import read_waveform
from features.errors import AudioError, CacheError
from features.manifest import Manifest
from features.store.content_keys import ClipContent
from features.store.table import EmbeddingTable
from heads.splits.groups import unique_keys
from pipeline.audit.leaks import across

SIMILARITY = 0.98  # of ESC-10's 79,800 and FSDD's 4.5 million pairs, one each reaches it, by MFCC or YAMNet
TOO_MANY = 1_000_000  # pairs by one backbone: held in memory, and of no use to anyone
LISTED = 1000  # pairs kept with their names; all are counted
DECODED = 200  # pairs whose samples are compared, at most
BLOCK_CELLS = 1 << 23  # similarities held at a time: 32 MB
MIN_DIMS = 16  # in fewer dimensions, unlike clips point the same way by chance
ALIKE = 0.9999  # the same samples from another file are at least this similar


@dataclass(frozen=True)
class NearPair:
    """Two clips that sound alike.

    Attributes:
        rows: Their positions in the manifest, ascending.
        similarity: Cosine of their standardised embeddings, by the backbone that finds them most alike.
        backbone: Its label.
        across: Whether one is tested by a model that trained or chose on the other.
        same_samples: Whether both decode to the very same samples, from files that differ.
    """

    rows: tuple[int, int]
    similarity: float
    backbone: str
    across: bool
    same_samples: bool = False


@dataclass
class NearDuplicates:
    """What was found, and by what.

    Attributes:
        threshold: The lowest similarity that counts.
        compared: By backbone label: layer, pooling and how many clips were compared.
        skipped: Why a backbone was not used, by its label.
        n_pairs: Pairs found, without those of identical files.
        n_across: Of these, pairs with one clip tested by a model that learnt from the other.
        pairs: Those listed: pairs across sides first, then the most alike.
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
) -> NearDuplicates:
    """Compare all clips with each other by every backbone that has embedded them.

    One layer is compared, the middle one, by its first pooling (`mean` unless there is none); a clip whose
    audio changed since, or that was not embedded, is left out. Files of the same bytes are no news here
    and are left out too.

    Args:
        manifest: The clips.
        tables: Cache files by backbone label.
        contents: Of every manifest row.
        sides: From `pipeline.audit.leaks.sides_of`.
        threshold: The lowest cosine that counts.
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
            found.skipped[label] = f"its embeddings have {vectors.shape[1]} dimensions that vary, fewer than {MIN_DIMS}"
            continue
        found.compared[label] = about
        own: list[pd.DataFrame] = []
        for block in similar_pairs(vectors, threshold):
            own.append(_table(block, rows, codes, sides, label))
            if sum(map(len, own)) > TOO_MANY:
                found.skipped[label] = f"more than {TOO_MANY:,} pairs are alike by it: it tells too little apart"
                del found.compared[label]
                own = []
                break
        frames += own
    pairs = pd.concat(frames, ignore_index=True) if frames else _table(_NOTHING, np.arange(0), codes, sides, "")
    pairs = pairs.sort_values(["across", "similarity", "first", "second"], ascending=[False, False, True, True])
    pairs = pairs.drop_duplicates(["first", "second"])
    found.n_pairs, found.n_across = len(pairs), int(pairs["across"].sum())
    for at, (first, second, similarity, crosses, backbone) in enumerate(pairs.head(LISTED).itertuples(index=False)):
        same = at < DECODED and similarity >= ALIKE and _same_samples(manifest, contents, first, second)
        found.pairs.append(NearPair((first, second), similarity, backbone, crosses, same))
    return found


def _vectors(
    table: EmbeddingTable, manifest: Manifest, contents: Sequence[ClipContent]
) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    """Rows of the manifest that the table holds as they are now, their directions, and what these are of."""
    keys = dict(zip(table.ids, table.keys, strict=True))
    ids = manifest.clips["id"].tolist()
    rows = [row for row, clip in enumerate(ids) if contents[row].key and keys.get(clip) == contents[row].key]
    if not table.poolings:
        raise CacheError("its cache holds frames only; add `mean` to features.pooling")
    if not rows:
        raise CacheError("its cache holds none of these clips")
    pooling = table.poolings[0]
    layer = len(table.spec.layers) // 2
    values = table.embeddings(pooling)[table.rows([ids[row] for row in rows]), layer].astype(np.float32)
    about: dict[str, object] = {"layer": table.spec.layers[layer], "pooling": pooling, "clips": len(rows)}
    return np.array(rows, dtype=np.int64), directions(values), about


def _table(block: Pairs, rows: np.ndarray, codes: np.ndarray, sides: np.ndarray, backbone: str) -> pd.DataFrame:
    """One block's pairs in rows of the manifest, without those of one content key."""
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


def _same_samples(manifest: Manifest, contents: Sequence[ClipContent], one: int, other: int) -> bool:
    """Whether two clips decode to the same samples at their own rate."""
    shapes = {(contents[row].frames, contents[row].sample_rate) for row in (one, other)}
    if len(shapes) > 1:
        return False
    try:
        first, second = (
            read_waveform(manifest.path_of(row), contents[row].sample_rate, *manifest.segment_of(row)).samples
            for row in (one, other)
        )
    except AudioError:
        return False
    return np.array_equal(first, second)


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows that are alike: `first` < `second`, shape (P,) int64; `similarity`, shape (P,) float32."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray


_NOTHING = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def directions(embeddings: np.ndarray) -> np.ndarray:
    """Unit vectors whose products are the cosines of the standardised embeddings.

    Standardisation is per dimension over all rows, so that no dimension counts more than another for its
    unit; dimensions that never change are left out.

    Args:
        embeddings: Shape (N, D), finite.

    Returns:
        Shape (N, D') float32, D' ≤ D; a row at the mean of all is zero.
    """
    mean = embeddings.mean(axis=0, dtype=np.float64)
    scale = embeddings.std(axis=0, dtype=np.float64)
    varies = scale > 1e-6 * np.maximum(np.abs(mean), 1e-30)  # less is rounding
    vectors = ((embeddings[:, varies] - mean[varies]) / scale[varies]).astype(np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def similar_pairs(vectors: np.ndarray, threshold: float, block_cells: int = BLOCK_CELLS) -> Iterator[Pairs]:
    """Yield the pairs at or above a cosine, some rows at a time; memory does not grow with N².

    Args:
        vectors: From `directions`, shape (N, D).
        threshold: The lowest cosine that counts.
        block_cells: Similarities held at a time, at most (but one row's at least).
    """
    start = 0
    while start < len(vectors):
        stop = start + max(1, block_cells // (len(vectors) - start))
        similarity = vectors[start:stop] @ vectors[start:].T
        first, second = np.nonzero(similarity >= threshold)
        upper = second > first
        first, second = first[upper], second[upper]
        yield Pairs(first + start, second + start, similarity[first, second])
        start = stop
