"""Cached embeddings as tables and tensors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.errors import CacheError
from features.store.table import EmbeddingTable, open_table

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from features.spec import BackboneSpec


class Cache:
    """The embeddings of one backbone, by clip id.

    Attributes:
        table: The file, see `features.store.table.EmbeddingTable`.
    """

    def __init__(self, table: EmbeddingTable) -> None:
        """Wrap an opened file."""
        self.table = table

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.table)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids."""
        return iter(self.ids)

    def __contains__(self, clip: object) -> bool:
        """Whether a clip with this id is cached."""
        return clip in self._known

    def __getitem__(self, clip: str) -> np.ndarray:
        """Return the vectors of a clip at all layers, (L, D · poolings) float32.

        Only the parts of the file that hold the clip are read, so they are not compared with the layers' digests.

        Raises:
            KeyError: No clip has this id.
        """
        if clip not in self:
            raise KeyError(f"{self.table.path} holds no clip {clip!r}")
        parts = [block[0] for pooling in self.poolings for _, block in self._blocks_of(clip, pooling)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def __repr__(self) -> str:
        """Summarise the file."""
        spec = self.spec
        return (
            f"Cache({str(self.table.path)!r}: {len(self)} clips, {spec.title}, {len(spec.layers)} layers × "
            f"{spec.dim}, {'+'.join(self.poolings)})"
        )

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.ids)

    @property
    def ids(self) -> list[str]:
        """The ids of the clips, in the order of the rows."""
        return [str(clip) for clip in self.table.ids]

    @property
    def spec(self) -> BackboneSpec:
        """What the backbone computes."""
        return self.table.spec

    @property
    def poolings(self) -> list[str]:
        """The poolings, in the order in which vectors are concatenated."""
        return self.table.poolings

    def to_numpy(self, layer: int = -1) -> np.ndarray:
        """Return the vectors of one layer, (N, D · poolings) float32.

        Args:
            layer: The backbone's index of the layer; -1 is the last.

        Raises:
            CacheError: There is no such layer, or the data do not match their checksum.
        """
        layers = list(self.spec.layers)
        if layer != -1 and layer not in layers:
            raise CacheError(f"{self.table.path}: no layer {layer!r}; it has {layers[0]} to {layers[-1]}")
        position = len(layers) - 1 if layer == -1 else layers.index(layer)
        return np.concatenate([self.table.layer(pooling, position) for pooling in self.poolings], axis=1)

    def to_pandas(self, layer: int = -1) -> pd.DataFrame:
        """Return the vectors of one layer with the ids as index and columns such as `mean_0`; see `to_numpy`."""
        import pandas as pd

        columns = [f"{pooling}_{at}" for pooling in self.poolings for at in range(self.spec.dim)]
        return pd.DataFrame(self.to_numpy(layer), index=pd.Index(self.ids, name="id"), columns=columns)

    def to_torch(self, layer: int = -1) -> Tensor:
        """Return the vectors of one layer as a tensor, rows as in `ids`; see `to_numpy`."""
        import torch

        return torch.from_numpy(self.to_numpy(layer))

    def _blocks_of(self, clip: str, pooling: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Read one row at all layers."""
        return self.table.blocks(pooling, rows=self.table.rows([clip]), verify=False)


def open_cache(path: str | Path) -> Cache:
    """Open a cache file; its ids and spec are checked against their digests.

    Raises:
        CacheError: The file is missing, not a cache file, or damaged.
    """
    return Cache(open_table(path))
