"""A fit over two processes on the CPU, each of which writes down how it saw the training go.

With the argument `stale`, the second process finds the state of a finished fit, which the first one has just removed.
"""

import json
import os
import sys
from pathlib import Path

from heads.finetuning import finetune as module
from heads.finetuning.checkpoint import TrainingState
from heads.models.options import CnnOptions
from tests.heads.learnables import Task


def main(folder: Path, *, stale: bool) -> None:
    rank = os.environ.get("LOCAL_RANK", "0")
    options = CnnOptions(
        name="cnn", epochs=50, patience=2, batch_size=8, channels=[8, 8], batch_norm=True, learning_rate=0.05,
        devices=2, threads=1,
    )  # fmt: skip
    if stale and rank == "1":
        module.read_state = lambda folder: TrainingState(stopped=True)
    task = Task(options, strength=0.0)  # nothing to learn
    state = module.finetune(task.build, task.clips, task.rows, options, 0, folder / "fit").state
    (folder / f"rank-{rank}.json").write_text(json.dumps({"curves": state.curves, "best": state.best_epoch}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), stale="stale" in sys.argv[2:])
