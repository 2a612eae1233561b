"""The stored scores of heads that were trained without a class: one row per class, test clip, fold, seed and draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heads.training.open_set import KnownScores

SCORES = ("max_probability", "energy")


def scores_table(scores: Sequence[KnownScores], ids: np.ndarray, held_out: str) -> pa.Table:
    """Convert the scores of all fits without one class.

    Args:
        scores: The scores of each fit.
        ids: Id of every manifest row.
        held_out: The class.

    Returns:
        The columns `held_out`, `id`, `fold` (text), `seed`, `draw`, `max_probability` and `energy` (empty for heads
        without scores before softmax).
    """
    parts = []
    for one in scores:
        fit, n_clips = one.fit, len(one.fit.test_rows)
        parts.append(
            pa.table(
                {
                    "held_out": pa.repeat(held_out, n_clips),
                    "id": pa.array(ids[fit.test_rows], pa.string()),
                    "fold": pa.repeat(str(fit.fold), n_clips),
                    "seed": pa.repeat(pa.scalar(fit.seed, pa.int64()), n_clips),
                    "draw": pa.repeat(pa.scalar(fit.draw, pa.int16()), n_clips),
                    "max_probability": pa.array(one.max_probability, pa.float32()),
                    "energy": pa.nulls(n_clips, pa.float32()) if one.energy is None else pa.array(one.energy),
                }
            )
        )
    return pa.concat_tables(parts)


def scores_of(table: pa.Table, held_out: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the scores of a class that was left out.

    Args:
        table: From `scores_table`.
        held_out: The class.

    Returns:
        The ids of the test clips, ascending, shape (n,); and by name each of `SCORES` that the head has, shape (R, n)
        for R repetitions (seeds and draws).
    """
    own = table.filter(pc.equal(table["held_out"], held_out))
    own = own.sort_by([(name, "ascending") for name in ("seed", "draw", "id")])
    ids = own["id"].to_numpy()
    n_repetitions = len(own.group_by(["seed", "draw"]).aggregate([]))
    found = {name: own[name].to_numpy().reshape(n_repetitions, -1) for name in SCORES if not own[name].null_count}
    return ids[: len(ids) // n_repetitions], found
