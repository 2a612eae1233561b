"""Random numbers of end-to-end training; they depend only on (seed, epoch, step), not on earlier draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ORDER, DROPOUT, CLIPS, NOISE = range(4)  # purposes of random draws


@dataclass(frozen=True)
class Step:
    """One training step of one process.

    Attributes:
        seed: Seed of the fit.
        epoch: Epoch, from 0.
        number: Step within the epoch, from 0.
        rank: Rank of the process, if several share a step.
    """

    seed: int
    epoch: int
    number: int
    rank: int = 0

    def generator(self) -> np.random.Generator:
        """Return the generator of crops and augmentation."""
        return np.random.default_rng([self.seed, self.epoch, self.number, self.rank, CLIPS])

    def torch_seed(self, purpose: int) -> int:
        """Return the seed of a torch generator for `DROPOUT` (the global generator) or `NOISE`."""
        entropy = [self.seed, self.epoch, self.number, self.rank, purpose]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def epoch_batches(n_clips: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the shuffled training clips of an epoch, in batches whose sizes differ by at most one.

    With even batches, no last batch has a single clip, which batch norm cannot handle.

    Args:
        n_clips: Number of training clips.
        batch_size: Largest batch.
        seed: Seed of the fit.
        epoch: Epoch, from 0.

    Returns:
        Positions of the clips, one int64 array per batch.
    """
    order = np.random.default_rng([seed, epoch, ORDER]).permutation(n_clips)
    return np.array_split(order, n_batches(n_clips, batch_size))


def n_batches(n_clips: int, batch_size: int) -> int:
    """Return the number of steps in an epoch."""
    return -(-n_clips // batch_size)
