"""Random numbers of end-to-end training: functions of (seed, epoch, step), never of what a process did before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ORDER, DROPOUT, CLIPS, NOISE = range(4)  # what a draw is for


@dataclass(frozen=True)
class Step:
    """One training step of one process.

    Attributes:
        seed: The fit's.
        epoch: From 0.
        number: Within the epoch, from 0.
        rank: Of the process, where several share a step.
    """

    seed: int
    epoch: int
    number: int
    rank: int = 0

    def generator(self) -> np.random.Generator:
        """Draws crops and augmentation."""
        return np.random.default_rng([self.seed, self.epoch, self.number, self.rank, CLIPS])

    def torch_seed(self, purpose: int) -> int:
        """For a torch generator: `DROPOUT` (the global one) or `NOISE`."""
        entropy = [self.seed, self.epoch, self.number, self.rank, purpose]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def epoch_batches(n_clips: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The training clips of an epoch in their order, dealt into batches that differ by one clip at most.

    Even batches leave no last one of a single clip, which batch norm cannot work with.

    Args:
        n_clips: How many there are.
        batch_size: Largest batch.
        seed: The fit's.
        epoch: From 0.
    """
    order = np.random.default_rng([seed, epoch, ORDER]).permutation(n_clips)
    return np.array_split(order, n_batches(n_clips, batch_size))


def n_batches(n_clips: int, batch_size: int) -> int:
    """Steps of an epoch."""
    return -(-n_clips // batch_size)
