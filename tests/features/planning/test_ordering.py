"""Clips in Parquet files are computed file by file where all would not fit into the temporary files."""

import itertools

import numpy as np

from features.planning import ordering
from features.planning.ordering import Extent, computing_order
from features.records import Records


def extents(suffix, n_files=4, per_file=5):
    lengths = np.random.default_rng(0).permutation(n_files * per_file) + 1
    return Records.of(
        Extent,
        (
            Extent(str(at), f"/data/{at % n_files}{suffix}/{at}/x.wav", 100 * int(length), 0, False)
            for at, length in enumerate(lengths)
        ),
    )


def files_in_order(clips):
    return [clips[int(at)].path.split("::")[0] for at in computing_order(clips)]


def test_parquet_files_that_do_not_fit_together_come_one_after_the_other(monkeypatch):
    clips = extents(".parquet::audio")
    together = [clips[int(at)].n_samples for at in computing_order(clips)]
    assert together == sorted(together, reverse=True), "all fit: by length alone"
    monkeypatch.setattr(ordering, "GROUP_BYTES", 4 * 100 * 60)
    files = files_in_order(clips)
    assert sum(a != b for a, b in itertools.pairwise(files)) == 3


def test_members_of_archives_are_ordered_by_length_alone(monkeypatch):
    monkeypatch.setattr(ordering, "GROUP_BYTES", 1)
    clips = extents(".tar::clips")
    lengths = [clips[int(at)].n_samples for at in computing_order(clips)]
    assert lengths == sorted(lengths, reverse=True)
