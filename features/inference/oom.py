"""Batches that do not fit in a device's memory: through the model in pieces, and no clip is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from features.backbones.base import Backbone

T = TypeVar("T")
PROBE_S = (4.0, 8.0)  # padded seconds of silence that tell what a second of audio takes
MEMORY_SHARE = 0.7  # of what is free, for one batch; another one's results are still on their way to the host


@dataclass(frozen=True)
class SubBatch(Generic[T]):
    """Some rows of a batch, and what the work gave for them; None where even one row alone did not fit."""

    rows: range
    result: T | None


class Splitter:
    """Sends batches through in the largest pieces that fit.

    Attributes:
        budget: Padded samples a piece may hold; None: no limit is known yet.
    """

    def __init__(self, note: Callable[[str], None], budget: int | None = None) -> None:
        """`note` is told when the budget becomes smaller."""
        self.budget = budget
        self._note = note

    def run(self, waveforms: Tensor, lengths: Tensor, work: Callable[[Tensor, Tensor], T]) -> Iterator[SubBatch[T]]:
        """Do `work` on a batch; where memory runs out, on its halves, and later ones are cut to what fitted.

        Args:
            waveforms: (B, T), padded.
            lengths: (B,) valid samples, on the CPU.
            work: Takes a part of both, its padding cut to its own longest clip.

        Yields:
            What came of each part, in order; together they are the batch.
        """
        waiting = [range(len(lengths))]
        while waiting:
            rows = waiting.pop()
            part = lengths[rows.start : rows.stop]
            longest = int(part.max())
            if self.budget is not None and len(rows) > 1 and len(rows) * longest > self.budget:
                count = max(1, self.budget // longest)
                waiting += [range(rows.start + count, rows.stop), range(rows.start, rows.start + count)]
                continue
            result = attempt(partial(work, waveforms[rows.start : rows.stop, :longest], part))
            if result is not None:
                yield SubBatch(rows, result)
            elif len(rows) == 1:
                yield SubBatch(rows, None)
            else:
                half = (len(rows) + 1) // 2
                self.budget = half * longest
                self._note(f"out of memory with {len(rows)} clips in a batch; going on with {half} of this length")
                waiting += [range(rows.start + half, rows.stop), range(rows.start, rows.start + half)]


def attempt(work: Callable[[], T]) -> T | None:
    """What `work` gives; None where the device's memory runs out, with what it held set free."""
    try:
        return work()
    except torch.OutOfMemoryError:
        pass  # the error holds the tensors of all frames it came through: they go with it, here
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def find_budget(backbone: Backbone, work: Callable[[Tensor, Tensor], Any]) -> int | None:
    """Padded samples of a batch that a CUDA device has room for, from what two small batches take.

    Args:
        backbone: Says which device, and how long a clip may be.
        work: What will be done with a batch.

    Returns:
        The budget; None on other devices, or where nothing can be learnt.
    """
    if backbone.device.type != "cuda":
        return None
    spec = backbone.spec
    length = max(spec.min_samples, min(spec.max_samples, spec.sample_rate))
    peaks, samples = [], []
    for seconds in PROBE_S:
        count = max(1, round(seconds * spec.sample_rate / length))
        torch.cuda.reset_peak_memory_stats(backbone.device)
        before = torch.cuda.memory_allocated(backbone.device)
        if attempt(partial(work, torch.zeros(count, length), torch.full((count,), length))) is None:
            return None
        torch.cuda.synchronize(backbone.device)
        peaks.append(torch.cuda.max_memory_allocated(backbone.device) - before)
        samples.append(count * length)
    torch.cuda.empty_cache()
    return budget_of(samples, peaks, torch.cuda.mem_get_info(backbone.device)[0])


def budget_of(samples: list[int], peaks: list[int], free_bytes: int) -> int | None:
    """Samples that fit into `MEMORY_SHARE` of the free memory, from the peaks in bytes that two sizes of batch took."""
    if samples[1] <= samples[0] or peaks[1] <= peaks[0]:
        return None
    bytes_per_sample = (peaks[1] - peaks[0]) / (samples[1] - samples[0])
    fixed = max(0.0, peaks[0] - samples[0] * bytes_per_sample)
    return max(1, int((free_bytes * MEMORY_SHARE - fixed) / bytes_per_sample))
