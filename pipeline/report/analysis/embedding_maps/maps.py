"""Maps of embeddings: which embeddings are shown, and projections that are stored in `runs/<name>/maps/`."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.errors import UserError
from features.store.table import EmbeddingTable
from pipeline.report.analysis.embedding_maps.projection import SETTINGS, Projection, project
from pipeline.report.study import Study, StudyModel
from pipeline.results.run_folder import file_name, job_digest, read_json, write_json
from pipeline.stages.inputs import table_rows

_log = logging.getLogger(__name__)

SLOW_FROM = 1000  # with at least this many clips, a log line explains the wait


@dataclass(frozen=True)
class View:
    """The embeddings on a backbone's map, which are the input of its best head.

    Attributes:
        model: The best model on this backbone that reads pooled embeddings of one layer.
        layer: The layer that most of its folds and seeds chose.
        poolings: The poolings, which are concatenated.
    """

    model: StudyModel
    layer: int
    poolings: tuple[str, ...]


def views(study: Study) -> dict[str, View]:
    """Return the view of each backbone label, in the order of the results table.

    Backbones without a head that reads pooled embeddings of one layer are left out.
    """
    found: dict[str, View] = {}
    for model in study.learned:
        label = str(model.row["model"])
        table = study.inputs.tables.get(label)
        if label in found or table is None or model.row["family"] not in ("frozen", "handcrafted"):
            continue
        layer, poolings = _layer(model, table), tuple(str(model.row["pooling"]).split("+"))
        if layer is not None and set(poolings) <= set(table.poolings):
            found[label] = View(model, layer, poolings)
    return found


def _layer(model: StudyModel, table: EmbeddingTable) -> int | None:
    """Return the layer that most fits of a head chose, the lowest if tied; None if the head reads several layers."""
    chosen = [fit["layer"] for fit in model.details["chosen"]]
    if len(table.spec.layers) == 1:
        return table.spec.layers[0]
    counted = Counter(layer for layer in chosen if layer != "all")
    return min(counted, key=lambda layer: (-counted[layer], layer)) if counted else None


def projection_of(study: Study, label: str, view: View, method: str, clips: Sequence[int] | np.ndarray) -> Projection:
    """Return the map of a backbone. A map in the run's folder is reused if nothing that determines it has changed.

    It is determined by the fingerprint of the embeddings, the layer, the poolings, the clips, their content and the
    settings of the projection.

    Args:
        study: The experiment.
        label: Label of the backbone.
        view: The embeddings to show.
        method: One of `projection.METHODS`.
        clips: Positions of the clips in the page.

    Raises:
        CacheError: The embeddings cannot be read.
        RunError: The run's folder cannot be written.
    """
    table, rows = study.inputs.tables[label], study.tested[clips]
    ids = study.manifest.clips["id"]
    listed = "\n".join(f"{ids.iat[row]}\0{study.inputs.contents[row].key}" for row in rows)
    key = job_digest(
        {
            **SETTINGS,
            "method": method,
            "fingerprint": table.fingerprint,
            "layer": view.layer,
            "poolings": list(view.poolings),
            "clips": hashlib.sha256(listed.encode()).hexdigest(),
        }
    )
    path = study.config.run_dir / "maps" / f"{file_name(label)}-{method.lower()}.json"
    kept = _read(path, key, len(rows))
    if kept is not None:
        return kept
    if len(rows) >= SLOW_FROM:
        _log.info(
            "report: computing %s of %d clips for %s; the result is stored for later reports", method, len(rows), label
        )
    made = project(_vectors(study, table, view, rows), method)
    coordinates = made.coordinates.round(3)
    write_json(
        path,
        {
            "key": key,
            "backbone": label,
            "method": method,
            "layer": view.layer,
            "poolings": list(view.poolings),
            "explained": [round(share, 4) for share in made.explained],
            "ids": [str(ids.iat[row]) for row in rows],
            "x": coordinates[:, 0].tolist(),
            "y": coordinates[:, 1].tolist(),
        },
    )
    return _read(path, key, len(rows)) or made


def _vectors(study: Study, table: EmbeddingTable, view: View, rows: np.ndarray) -> np.ndarray:
    """Return the embeddings of a view, shape (N, D·P) for P poolings."""
    at = table_rows(table, study.manifest, study.inputs.contents, rows.tolist())
    layer = table.spec.layers.index(view.layer)
    return np.concatenate([table.layer(pooling, layer, at) for pooling in view.poolings], axis=1)


def _read(path: Path, key: str, n_clips: int) -> Projection | None:
    """Read a stored map; None if it is missing or damaged or has another key."""
    kept = read_json(path)
    try:
        if kept is None or kept["key"] != key:
            return None
        coordinates = np.column_stack([kept["x"], kept["y"]]).astype(np.float64)
        return Projection(coordinates, tuple(kept["explained"])) if len(coordinates) == n_clips else None
    except (UserError, TypeError, ValueError):  # a missing key is a UserError
        return None
