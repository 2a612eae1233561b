"""Which clips belong together: one recording or speaker, or the very same audio under two ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.manifest import Manifest


def clip_groups(manifest: Manifest, keys: Sequence[str] | None = None) -> np.ndarray:
    """Number the groups of clips that must never be told apart by a drawn split.

    Two clips share a group when they share the manifest's `group` or the content key of their audio,
    directly or through others. A clip with neither is a group of its own.

    Args:
        manifest: The labelled clips.
        keys: Content key of each row's audio; "" where it is not known. None: compare no audio.

    Returns:
        Group numbers, shape (N,) int64, numbered by the first id (in sorted order) of each group, so
        that they do not depend on the order of the manifest's rows.

    Raises:
        ValueError: `keys` has another length than the manifest.
    """
    n_rows = len(manifest)
    order = np.argsort(manifest.clips["id"].to_numpy(dtype=str), kind="stable")
    links = [np.arange(n_rows)]
    if "group" in manifest.clips:
        links.append(pd.factorize(manifest.clips["group"].to_numpy())[0])
    if keys is not None:
        if len(keys) != n_rows:
            raise ValueError(f"{len(keys)} content keys for {n_rows} clips")
        links.append(pd.factorize(unique_keys(keys))[0])
    # A graph of clips and of the things they share: a group is one connected component.
    rows, nodes, n_nodes = [], [], n_rows
    for link in links[1:]:
        rows.append(np.arange(n_rows))
        nodes.append(link + n_nodes)
        n_nodes += int(link.max()) + 1
    if not rows:
        components = np.arange(n_rows)
    else:
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        edges = (np.concatenate(rows), np.concatenate(nodes))
        graph = coo_matrix((np.ones(len(edges[0])), edges), shape=(n_nodes, n_nodes))
        components = connected_components(graph, directed=False)[1][:n_rows]
    groups = np.empty(n_rows, dtype=np.int64)
    groups[order] = pd.factorize(components[order])[0]
    return groups


def unique_keys(keys: Sequence[str]) -> np.ndarray:
    """The content keys, shape (N,), each unknown one ("" or None) replaced by one that nothing shares."""
    return np.array([str(key) if key else f"unknown {row}" for row, key in enumerate(keys)], dtype=object)


def spread(members: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The members that stand on more than one side.

    Args:
        members: What each row belongs to (a group, a content key), shape (N,).
        sides: The official fold or split of each row, shape (N,).

    Returns:
        The distinct members with rows on two sides or more, sorted.
    """
    table = pd.DataFrame({"member": members.astype(str), "side": sides.astype(str)})
    counts = table.groupby("member", sort=True)["side"].nunique()
    return counts.index[counts > 1].to_numpy()
