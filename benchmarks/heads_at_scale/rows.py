"""The rows of `benchmarks.heads_at_scale`: a part of the program on generated inputs, by size."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.heads_at_scale.solvers import knn, linear, ridge, sklearn_logistic, sklearn_sgd

N_CLIPS, N_CLASSES, N_MODELS, DIM = 100_000, 35, 10, 768
WRITTEN = 500  # clips written to a cache at a time
Work = Callable[[], Any]


def splits(n_groups: int) -> Work:
    """Return the draw of leave-one-group-out on 100,000 clips."""
    from heads.splits.protocol import make_splits

    return partial(make_splits, _manifest(n_groups), "leave-one-group-out")


def digest(n_groups: int) -> Work:
    """Return the digest of 100,000 clips and their splits, which identifies the fits of a run."""
    from heads.splits.protocol import make_splits
    from pipeline.stages.data_digest import data_digest

    manifest = _manifest(n_groups)
    parts = make_splits(manifest, "leave-one-group-out").splits
    columns = [manifest.clips[name].tolist() for name in ("id", "label", "id")]
    return partial(data_digest, columns, parts, N_CLIPS)


def ties(n_clips: int) -> Work:
    """Return the comparison of ten models on clips without groups."""
    import numpy as np
    import scipy.stats  # noqa: F401 - imported before the time is taken

    from heads.evaluation.statistics import tied_with_best

    rng = np.random.default_rng(0)
    shared = rng.normal(size=n_clips)
    scores = {
        f"model {at}": (0.7 * shared + 0.7 * rng.normal(size=n_clips) < 1 + 0.02 * at).astype(float)
        for at in range(N_MODELS)
    }
    return partial(tied_with_best, scores, np.arange(n_clips))


def duplicates(n_clips: int) -> Work:
    """Return the search for near-duplicates among vectors with the falling spectrum of embeddings."""
    import numpy as np

    from pipeline.audit.near_duplicates import SIMILARITY
    from pipeline.audit.similar_pairs import directions, similar_pairs

    rng = np.random.default_rng(0)
    spread = (np.arange(1, DIM + 1) ** -0.4).astype(np.float32)
    values = rng.standard_normal((n_clips, DIM), dtype=np.float32) * spread
    values[:300] = values[300:600] + 0.08 * rng.standard_normal((300, DIM), dtype=np.float32) * spread
    values = values @ np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)

    def search() -> int:
        return sum(len(block.first) for block in similar_pairs(directions(values), SIMILARITY))

    return search


def precision(n_clips: int) -> Work:
    """Return mAP of one model for 527 labels, with interval and draws of the comparison (AudioSet has 20,371 clips)."""
    from benchmarks.heads_at_scale.synthetic_run import several_labels
    from heads.evaluation.bootstrap import draws_for, resampled_precision

    predictions, groups = several_labels(n_clips, 527)
    return partial(resampled_precision, predictions, groups, draws_for("multi-label", n_clips * 527))


def report(n_clips: int) -> Work:
    """Return the report of ten stored models of 400 classes: scores, tables and page, without audio and embeddings."""
    from benchmarks.heads_at_scale.synthetic_run import SyntheticRun

    return SyntheticRun(n_clips, 400, N_MODELS).report


def mlp(n_clips: int) -> Work:
    """Return an epoch of `mlp` on one layer, 1,251 classes."""
    from heads.kinds.mlp import MlpOptions

    return _epoch(MlpOptions(max_epochs=1), n_clips, 1, 1251)


def weighted_sum(n_clips: int) -> Work:
    """Return an epoch of `weighted-sum` on 13 layers, 35 classes; beyond 2 GiB rows are put in a temporary file."""
    from heads.kinds.weighted_sum import WeightedSumOptions

    return _epoch(WeightedSumOptions(max_epochs=1), n_clips, 13, N_CLASSES)


def reading(n_clips: int) -> Work:
    """Return the reading of one layer of 13 from a cache on disk, all clips in a mixed order."""
    import numpy as np

    from features.store.table import open_table

    path = Path(tempfile.mkdtemp()) / "t.h5"
    write = f"from benchmarks.heads_at_scale.rows import write_cache; write_cache({str(path)!r}, {n_clips})"
    subprocess.run([sys.executable, "-c", write], check=True)  # its memory does not count
    table, rows = open_table(path), np.random.default_rng(0).permutation(n_clips)
    table.layer("mean", 6, rows[:1])  # libraries and buffers
    return partial(table.layer, "mean", 6, rows)


def write_cache(path: str, n_clips: int) -> None:
    """Write a cache of noise, 13 layers of 768 dimensions."""
    import numpy as np

    from features.spec import BackboneSpec
    from features.store import fingerprint as fp
    from features.store.writer import CacheRows, Totals, write_file

    backbone = BackboneSpec("noise", "noise", "none", "", 16_000, tuple(range(13)), DIM, 50.0, 0.1, 30.0)
    some = np.random.default_rng(0).standard_normal((WRITTEN, 13, DIM), dtype=np.float32)

    def parts() -> Iterator[CacheRows]:
        for first in range(0, n_clips, WRITTEN):
            count = min(WRITTEN, n_clips - first)
            ids = [f"clip-{at:06d}" for at in range(first, first + count)]
            yield CacheRows(ids, ids, [1.0] * count, [1] * count, {"mean": some[:count]})

    write_file(Path(path), fp.cache_spec(backbone, ["mean"]), parts(), Totals(n_clips, n_clips), {})


ROWS: dict[str, tuple[Callable[[int], Work], str, tuple[int, ...]]] = {
    "splits": (splits, "groups of 100,000 clips", (50, 200, 500, 1000)),
    "digest": (digest, "groups of 100,000 clips", (100, 300, 1000)),
    "ties": (ties, "clips × 10 models", (1000, 3000, 10_000)),
    "duplicates": (duplicates, "clips × 768", (10_000, 30_000, 100_000)),
    "precision": (precision, "clips × 527 labels", (7000, 20_371)),
    "report": (report, "clips × 400 classes × 10 models", (10_000, 30_000, 100_000)),
    "mlp": (mlp, "clips × 768", (10_000, 30_000, 100_000)),
    "weighted-sum": (weighted_sum, "clips × 13 × 768", (3000, 10_000, 30_000)),
    "linear": (linear, "clips × 768, 35 classes", (10_000, 30_000, 100_000)),
    "linear-400": (partial(linear, n_classes=400), "clips × 768, 400 classes", (30_000,)),
    "linear-1251": (partial(linear, n_classes=1251, penalties=(0.01,)), "clips × 768, one penalty", (10_000, 100_000)),
    "linear-labels": (partial(linear, n_classes=200, multi_label=True), "clips × 768, 200 labels", (30_000, 100_000)),
    "ridge": (ridge, "clips × 768", (30_000, 100_000)),
    "knn": (knn, "clips × 768, 35 classes", (10_000, 30_000, 100_000)),
    "sklearn": (sklearn_logistic, "clips × 768, one penalty", (10_000, 30_000)),
    "sklearn-sgd": (sklearn_sgd, "clips × 768, one penalty", (10_000, 30_000)),
    "reading": (reading, "clips × 13 × 768, one layer", (10_000, 30_000, 100_000)),
}


def measure(name: str, size: int) -> tuple[float, float]:
    """Return seconds of CPU and peak MB of one row and size."""
    with tempfile.TemporaryDirectory() as tempfile.tempdir:
        work = ROWS[name][0](size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.process_time()
        work()
        seconds = time.process_time() - started
        return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _epoch(options: Any, n_clips: int, n_layers: int, n_classes: int) -> Work:
    """Return an epoch of a head on generated vectors: 60 % of the clips train, 20 % validate, 20 % test."""
    import numpy as np

    from heads.splits.protocol import Split
    from heads.training.train import train_head

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_clips, n_layers, DIM), dtype=np.float32)
    classes, fold = np.arange(n_clips) % n_classes, np.arange(n_clips) // n_classes % 5
    split = Split(0, *(np.flatnonzero(chosen) for chosen in (fold > 1, fold == 1, fold == 0)))
    vectors[:, -1, :64] += rng.standard_normal((n_classes, 64), dtype=np.float32)[classes]

    few = Split(0, *np.split(np.arange(500), [300, 400]))
    train_head(options, vectors[:500], np.arange(500) % 2, [few], [0], n_classes=2)  # what is loaded once
    return partial(train_head, options, vectors, classes, [split], [0], n_classes=n_classes)


def _manifest(n_groups: int) -> Any:
    """Return 100,000 clips of 35 classes and some groups."""
    import numpy as np
    import pandas as pd

    from features.manifest import Manifest

    rng = np.random.default_rng(0)
    ids = [f"clip-{at:06d}" for at in range(N_CLIPS)]
    columns = {
        "id": ids,
        "path": ids,
        "label": [f"class {own}" for own in rng.integers(0, N_CLASSES, N_CLIPS)],
        "group": [f"speaker {own}" for own in rng.integers(0, n_groups, N_CLIPS)],
    }
    return Manifest("corpus", Path(), pd.DataFrame(columns))
