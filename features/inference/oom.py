"""Out-of-memory handling: batches that do not fit in a device's memory are split into sub-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from features.backbones.base import Backbone
from features.system.out_of_memory import is_out_of_memory

T = TypeVar("T")
PROBE_S = (4.0, 8.0)  # padded seconds of silence with which the memory per second of audio is measured
MEMORY_SHARE = 0.7  # of the free memory, for one batch; results of the previous one are still in transfer


@dataclass(frozen=True)
class SubBatch(Generic[T]):
    """Some rows of a batch and their result; the result is None if a single row did not fit in memory."""

    rows: range
    result: T | None


class Splitter:
    """Processes batches in the largest sub-batches that fit in memory.

    Attributes:
        budget: Padded samples a sub-batch may hold; None while no limit is known.
    """

    def __init__(self, note: Callable[[str], None], budget: int | None = None) -> None:
        """Create a splitter.

        Args:
            note: Called with a message when the budget is reduced.
            budget: Padded samples a sub-batch may hold, if known.
        """
        self.budget = budget
        self._note = note

    def run(self, lengths: Sequence[int], work: Callable[[range], T]) -> Iterator[SubBatch[T]]:
        """Call `work` on a batch. If memory runs out, split it in halves, and split later batches to that size.

        Args:
            lengths: Valid samples of each of B clips.
            work: Called with the rows of a sub-batch; everything that it allocates on the device is inside.

        Yields:
            The result of each sub-batch, in order; together they cover the batch.
        """
        waiting = [range(len(lengths))] if lengths else []
        while waiting:
            rows = waiting.pop()
            longest = max(lengths[rows.start : rows.stop])
            if self.budget is not None and len(rows) > 1 and len(rows) * longest > self.budget:
                count = max(1, self.budget // longest)
                waiting += [range(rows.start + count, rows.stop), range(rows.start, rows.start + count)]
                continue
            result = attempt(partial(work, rows))
            if result is not None:
                yield SubBatch(rows, result)
            elif len(rows) == 1:
                yield SubBatch(rows, None)
            else:
                half = (len(rows) + 1) // 2
                self.budget = half * longest
                self._note(f"out of memory with {len(rows)} clips in a batch; continuing with {half} of this length")
                waiting += [range(rows.start + half, rows.stop), range(rows.start, rows.start + half)]


def attempt(work: Callable[[], T]) -> T | None:
    """Return the result of `work`; None if memory runs out, of which the device's is then freed."""
    try:
        return work()
    except Exception as error:  # it refers to the tensors of all stack frames; leaving this block releases them
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def find_budget(backbone: Backbone, work: Callable[[Tensor, Tensor], Any]) -> int | None:
    """Estimate how many padded samples fit in a CUDA device's memory, from the memory use of two sizes of batches.

    Batches of equal and of unlike lengths are measured, since masks need memory of their own. The smaller ones run once
    before: what libraries keep from their first use on, such as the workspace of cuBLAS, is in neither measurement.

    Args:
        backbone: Determines the device and the length of clips.
        work: The work done on each batch, padded waveforms and lengths on the CPU, with everything that it keeps.

    Returns:
        The budget; None on other devices, or if it cannot be estimated.
    """
    if backbone.device.type != "cuda":
        return None
    spec = backbone.spec
    length = max(spec.min_samples, min(spec.max_samples, max(2 * spec.min_samples, spec.sample_rate)))
    unlike = max(spec.min_samples, length * 3 // 4)
    counts = [max(2, round(seconds * spec.sample_rate / length)) for seconds in PROBE_S]

    def peak(count: int) -> int | None:
        """Return the bytes that a batch of equal or of unlike lengths needs at most; None if it does not fit."""
        torch.cuda.reset_peak_memory_stats(backbone.device)
        before = torch.cuda.memory_allocated(backbone.device)
        for other in (length, unlike):
            lengths = torch.tensor([length, other] * count)[:count]
            if attempt(partial(work, torch.zeros(count, length), lengths)) is None:
                return None
        torch.cuda.synchronize(backbone.device)
        return torch.cuda.max_memory_allocated(backbone.device) - before

    measured = [peak(count) for count in (counts[0], *counts)][1:]
    torch.cuda.empty_cache()
    peaks = [bytes_ for bytes_ in measured if bytes_ is not None]
    if len(peaks) < len(counts):
        return None
    return budget_of([count * length for count in counts], peaks, torch.cuda.mem_get_info(backbone.device)[0])


def budget_of(samples: list[int], peaks: list[int], free_bytes: int) -> int | None:
    """Return how many samples fit in `MEMORY_SHARE` of the free memory; None if it cannot be estimated.

    Args:
        samples: Padded samples of two batches.
        peaks: Their peak memory use in bytes.
        free_bytes: Free memory in bytes.
    """
    if samples[1] <= samples[0] or peaks[1] <= peaks[0]:
        return None
    bytes_per_sample = (peaks[1] - peaks[0]) / (samples[1] - samples[0])
    fixed = max(0.0, peaks[0] - samples[0] * bytes_per_sample)
    return max(1, int((free_bytes * MEMORY_SHARE - fixed) / bytes_per_sample))


def memory_of(backbone: Backbone) -> str:
    """Return the end of a message about a clip that does not fit: the memory of the backbone's device, what to do."""
    if backbone.device.type != "cuda":
        return f"{backbone.device_name} has; set a lower max_duration_s"
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info(backbone.device))
    return (
        f"{backbone.device_name} has free, {free:.1f} of {total:.1f} GiB; set a lower max_duration_s, or end other "
        "programs that use it (nvidia-smi lists them)"
    )
