"""Train one shard of a run's fits, beside other processes that train the other shards in the same run folder.

A fit is claimed with a lock before it is trained, so that no two processes write its files, even if the same shard was
started twice. The system releases the lock of a process that died. What the dead process left of the fit is replaced
when its shard is started again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from features.planning.run_shard import RunShard
from features.system.locks import claim
from heads.finetuning.processes import agreed, is_main_process
from pipeline.console import Console
from pipeline.fits.task import FitTask
from pipeline.results.run_folder import file_name
from pipeline.results.table import counted

CLAIMS = "claims"  # folder of the lock files in a run folder


def own_tasks(tasks: Sequence[FitTask], shard: RunShard) -> list[FitTask]:
    """Return the fits of a shard. Neighbours, which are of similar size, go to different shards."""
    return [task for number, task in enumerate(tasks) if shard.takes(number)]


def train_shard(
    tasks: Sequence[FitTask], shard: RunShard, run_dir: Path, device: str, what: str, console: Console
) -> bool:
    """Train the fits of a shard that are not complete.

    Args:
        tasks: All fits of the run, in the same order in every process.
        shard: Which of them to train.
        run_dir: The run folder, which all shards can access.
        device: Device of the training.
        what: Command and dataset, for messages.
        console: Prints a line for each fit of the shard, and one about the fits of other shards that are missing.

    Returns:
        Whether all fits of the run are complete, including those of other shards.
    """
    for task in own_tasks(tasks, shard):
        with _claimed(run_dir, task) as is_held:
            if agreed(task.is_done(), device):
                console.line(task.reused)
            elif agreed(is_held, device):
                console.line(task.trained(task.train()))
            else:
                console.note(f"{task.what}: left to another process, which is training it")
    missing = agreed([number for number, task in enumerate(tasks) if not task.is_done()], device)
    if missing:
        owners = ", ".join(map(str, shard.owners(missing)))
        console.line(
            f"{what}: {counted(len(missing), 'fit')} of {len(tasks)} still missing in {run_dir}: --shard {owners}"
        )
        return False
    if is_main_process():
        _remove_claims(run_dir, tasks)
    return True


@contextmanager
def _claimed(run_dir: Path, task: FitTask) -> Iterator[bool]:
    """Claim a fit; yield whether no other process trains it. Among processes that train together, one claims it."""
    if not is_main_process():
        yield True
        return
    with claim(_claim_file(run_dir, task)) as is_held:
        yield is_held


def _claim_file(run_dir: Path, task: FitTask) -> Path:
    return run_dir / CLAIMS / file_name(task.what)


def _remove_claims(run_dir: Path, tasks: Sequence[FitTask]) -> None:
    """Remove the lock files of fits that are all complete, so that nobody claims them any more."""
    for task in tasks:
        path = _claim_file(run_dir, task)
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
