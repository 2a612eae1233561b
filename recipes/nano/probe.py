"""Probe frozen encoders on held-out synthetic clips: `python -m recipes.nano.probe FOLDER…`.

Each task is a linear probe over the mean and standard deviation of one layer's frames, scored by five-fold
cross-validation. `families`: the family of an event. `words`: which of ten synthetic words a voice speaks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from features.backbones import load
from recipes.nano.clips import PROBE, SAMPLE_RATE, rendered
from recipes.nano.events import EVENTS

WORDS, TAKES = 10, 40
WORD_SAMPLES, EVENT_SAMPLES = SAMPLE_RATE * 6 // 10, 2 * SAMPLE_RATE


def tasks(seed: int = 0, takes: int = TAKES) -> dict[str, tuple[list[NDArray[np.float32]], list[str]]]:
    """Return clips and labels of each task, with `takes` clips per class; determined by the seed."""
    families = [(family, number, 0, EVENT_SAMPLES, family) for family in EVENTS for number in range(takes)]
    words = [("voice", word, take, WORD_SAMPLES, str(word)) for word in range(WORDS) for take in range(takes)]
    return {
        name: (
            [rendered(family, seed, PROBE, number, n, rendering) for family, number, rendering, n, _ in wanted],
            [label for *_, label in wanted],
        )
        for name, wanted in {"families": families, "words": words}.items()
    }


def accuracies(folder: str, made: dict[str, tuple[list[NDArray[np.float32]], list[str]]]) -> dict[str, list[float]]:
    """Return the five-fold accuracy of each task by layer, lowest first; folder `random`: an untrained encoder."""
    backbone = load({"name": "wav2vec2-nano", "weights": folder}, device="cpu")
    found = {}
    for task, (clips, labels) in made.items():
        frames = [backbone.embed([clip])[0] for clip in clips]  # [L, F, D]
        pooled = np.stack([np.concatenate([one.mean(axis=1), one.std(axis=1)], axis=1) for one in frames])
        found[task] = [
            float(
                np.mean(
                    cross_val_score(
                        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
                        pooled[:, layer],
                        labels,
                        cv=StratifiedKFold(5, shuffle=True, random_state=0),
                    )
                )
            )
            for layer in range(pooled.shape[1])
        ]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per folder and task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", help="model folders, as recipes.nano.export writes them, or `random`")
    given = parser.parse_args(arguments)
    made = tasks()
    for folder in given.folders:
        for task, scores in accuracies(folder, made).items():
            print(folder, task, " ".join(f"{score:.3f}" for score in scores))  # noqa: T201


if __name__ == "__main__":
    main()
