"""Small corpora: tables of clips whose audio nobody reads."""

import pandas as pd

from features.manifest import Manifest


def manifest(labels, **columns):
    n = len(labels)
    ids = columns.pop("id", [f"c{row:04d}.wav" for row in range(n)])
    table = {"id": ids, "path": ids, "label": pd.Series(labels, dtype=object), **columns}
    return Manifest("toy", ".", pd.DataFrame(table))


def corpus(n_classes=3, groups_per_class=8, clips_per_group=2, n_folds=None):
    """Groups of one class each, dealt into folds in turn."""
    rows = [
        (f"label{c}", f"g{c}-{g}", g)
        for c in range(n_classes)
        for g in range(groups_per_class)
        for _ in range(clips_per_group)
    ]
    labels, groups, numbers = zip(*rows, strict=True)
    columns = {"group": list(groups)}
    if n_folds:
        columns["fold"] = [number % n_folds + 1 for number in numbers]
    return manifest(list(labels), **columns)
