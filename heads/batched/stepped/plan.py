"""How a job of minibatch training is divided, so that its rows and fits fit in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from features.errors import ConfigError
from heads.batched.job import Job
from heads.batched.moments import CHUNK_BYTES
from heads.batched.stepped.adamw import HeadNetwork, aligned
from heads.batched.target_rows import row_bytes
from heads.options import SteppedOptions

CPU_STACK_BYTES = 2**24  # per worker, so that the optimiser's state fits the processor's caches
CUDA_STACK_BYTES = 2**31
SCORES_BYTES = 2**26  # memory of one part of a validation pass
TILE_BYTES = 2**27  # rows that are standardised at once on their way to a device or a file
WINDOW = 16  # steps whose dropout is drawn at once
NOTED_BYTES = 2**30  # a job that needs less is not mentioned


@dataclass(frozen=True)
class Plan:
    """The division of a job.

    Attributes:
        n_blocks: Number of blocks whose rows are stored at once.
        spilled: Whether rows are stored in a temporary file instead of in memory.
        n_workers: Number of threads, each with its own fits.
        n_fits: Largest number of fits of a worker that are trained at once.
        valid_rows: Validation rows that are scored at once. It depends on the shape of the head only, because the
            number of rows may change the last bits of a product.
        scored_bytes: Memory of one validation row that is scored by one fit.
        tile_bytes: Rows that are standardised at once on their way to a device or a file.
        n_bytes: Estimated memory.
        file_bytes: Size of the temporary file.
    """

    n_blocks: int
    spilled: bool
    n_workers: int
    n_fits: int
    valid_rows: int
    scored_bytes: int
    tile_bytes: int
    n_bytes: int
    file_bytes: int

    @property
    def note(self) -> str | None:
        """One line about a large job; None for a small one."""
        if self.spilled:
            rows = f"rows in a temporary file of {self.file_bytes / 1e6:,.0f} MB"
            return _memory_line(self.n_bytes, self.n_workers, self.n_fits, rows)
        return memory_note(self.n_bytes, self.n_workers, self.n_fits, "rows in memory")


def memory_note(n_bytes: int, n_workers: int, n_fits: int, rows: str) -> str | None:
    """Return one line about a job that needs much memory; None for a small one.

    Args:
        n_bytes: Estimated memory.
        n_workers: Number of threads.
        n_fits: Number of fits that a thread trains at once.
        rows: Where the rows are while the fits are trained.
    """
    return None if n_bytes < NOTED_BYTES else _memory_line(n_bytes, n_workers, n_fits, rows)


def _memory_line(n_bytes: int, n_workers: int, n_fits: int, rows: str) -> str:
    return f"{n_bytes / 1e6:,.0f} MB of memory, {n_workers} × {n_fits} fits at once, {rows}"


def plan_job(job: Job, network: HeadNetwork, n_blocks: int, n_candidates: int) -> Plan:
    """Divide a job.

    Args:
        job: The job.
        network: The architecture of its fits.
        n_blocks: Number of blocks to train on.
        n_candidates: Number of fits per block.

    Raises:
        ConfigError: A minibatch of one fit does not fit in memory.
    """
    options = job.options
    assert isinstance(options, SteppedOptions)
    numbers = (job.n_layers if options.reads == "layers" else 1) * aligned(job.dim)  # of one row
    outputs = aligned(job.n_outputs)
    trained, tracked = (sum(map(math.prod, shapes.values())) for shapes in (network.trained, network.tracked))
    size = options.batch_size
    # Values, gradients, moments, the rows of a step and their activations.
    step = 4 * (4 * trained + size * (numbers + 6 * (network.units + outputs)))
    # The best state, its copies, targets and losses of a step, dropout of a window, order of the rows of an epoch.
    fit = step + 4 * (4 * trained + 4 * tracked) + size * (12 * outputs + 7 * WINDOW * network.units) + 16 * job.n_train
    scored = 4 * (numbers + 2 * aligned(job.dim) + 3 * network.units + 9 * outputs)
    valid_rows = max(32, SCORES_BYTES // scored // 32 * 32)
    scores = min(valid_rows, job.n_valid) * scored

    on_cpu = job.device.type == "cpu"
    n_fits = (CPU_STACK_BYTES if on_cpu else CUDA_STACK_BYTES) // step
    n_fits = max(1, min(n_fits, job.memory // (2 * job.cores if on_cpu else 2) // fit, n_blocks * n_candidates))
    worker = n_fits * fit + min(SCORES_BYTES, n_fits * scores)
    n_workers = min(job.cores, n_blocks * n_candidates, max(1, job.memory // 2 // worker)) if on_cpu else 1

    n_rows = job.n_train + job.n_valid
    small = n_rows * (row_bytes(job.task, job.n_outputs) + 16)  # targets and positions
    block = n_rows * 4 * numbers
    loading = 3 * min(CHUNK_BYTES, 8 * n_rows * job.dim)
    free = job.memory - max(n_workers * worker, loading)
    tile = min(TILE_BYTES, block, max(4 * numbers, job.memory // 8))
    held = max(0, free // (block + small))
    if held < 1:
        loading += tile
        if worker + small > job.memory or loading + small > job.memory:
            least = max(worker, loading) + small
            raise ConfigError(
                f"heads_memory_gib: {job.memory / 2**30:.2g} is too little for {options.title}; "
                f"one minibatch of {size} clips needs {least / 2**30:.2g}"
            )
    n_at_once = min(n_blocks, held) or 1
    rows = n_at_once * (small + (block if held else 0))
    return Plan(
        n_blocks=n_at_once,
        spilled=not held,
        n_workers=n_workers,
        n_fits=n_fits,
        valid_rows=valid_rows,
        scored_bytes=scored,
        tile_bytes=tile,
        n_bytes=rows + max(n_workers * worker, loading),
        file_bytes=0 if held else block,
    )
