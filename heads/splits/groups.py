"""Groups of clips that a split must keep together: the same recording or speaker, or identical audio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.manifest import Manifest


def clip_groups(manifest: Manifest, keys: Sequence[str] | None = None) -> np.ndarray:
    """Number the groups of clips that a drawn split must keep together.

    Two clips are in the same group if they share the manifest's `group` or the content key of their audio,
    directly or through other clips. A clip that shares neither is a group by itself.

    Args:
        manifest: The labelled clips.
        keys: Content key of each row's audio; "" if unknown. None: audio is not compared.

    Returns:
        Group numbers, shape (N,) int64, in the order of each group's first id (sorted), so that they do
        not depend on the order of the manifest's rows.

    Raises:
        ValueError: `keys` does not have one entry per clip.
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
    # Nodes are clips and what they share (group, audio); a group is a connected component.
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
    """Return the content keys, shape (N,), with unknown ones ("" or None) replaced by unique ones."""
    return np.array([str(key) if key else f"unknown {row}" for row, key in enumerate(keys)], dtype=object)


def spread(members: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return the members that occur in more than one fold or split.

    Args:
        members: What each row belongs to (a group, a content key), shape (N,).
        sides: The official fold or split of each row, shape (N,).

    Returns:
        The distinct members with rows in two or more folds or splits, sorted.
    """
    table = pd.DataFrame({"member": members.astype(str), "side": sides.astype(str)})
    counts = table.groupby("member", sort=True)["side"].nunique()
    return counts.index[counts > 1].to_numpy()
