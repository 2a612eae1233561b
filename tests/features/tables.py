"""Synthetic rows, and cache files of them."""

import numpy as np

from features.store import fingerprint as fp
from features.store.writer import CacheRows, Totals, write_file
from tests.features.toys import toy_spec

BACKBONE = toy_spec()
SPEC = fp.cache_spec(BACKBONE, ["mean", "std"])
FRAMES_SPEC = fp.cache_spec(BACKBONE, ["max", "frames"], frame_layers=[1], frame_dtype="float16")


def rows(*ids, key="k", seed=0, spec=SPEC, failures=()):
    random = np.random.default_rng(seed)
    made = CacheRows(failures=list(failures), frames=None if spec["frames"] is None else [])
    for position, clip in enumerate(ids):
        made.ids.append(clip)
        made.keys.append(key + clip)
        made.durations_s.append(1.5 + position)
        made.n_frames.append(1 + position % 3)
        if made.frames is not None:
            made.frames.append(random.normal(size=(1 + position % 3, 1, 4)).astype("f2"))
    made.pooled = {m: random.normal(size=(len(ids), 2, 4)).astype("f4") for m in spec["pooling"] if ids}
    return made


def write(path, made, spec=SPEC, cost=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, spec, [made], Totals.of(made), cost or {"clips": len(made.ids), "audio_s": 1.0, "compute_s": 2.0})
    return path


def by_id(table, pooling):
    return dict(zip(table.ids, table.embeddings(pooling), strict=True))
