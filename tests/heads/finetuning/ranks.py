"""A fit over two processes on the CPU, each of which writes down how it saw the training go."""

import json
import os
import sys
from pathlib import Path

from heads.finetuning.finetune import finetune
from heads.models.options import CnnOptions
from tests.heads.learnables import Task


def main(folder: Path) -> None:
    options = CnnOptions(
        name="cnn", epochs=50, patience=2, batch_size=8, channels=[8, 8], batch_norm=True, learning_rate=0.05,
        devices=2, threads=1,
    )  # fmt: skip
    task = Task(options, strength=0.0)  # nothing to learn
    state = finetune(task.build, task.clips, task.rows, options, 0, folder / "fit").state
    rank = os.environ.get("LOCAL_RANK", "0")
    (folder / f"rank-{rank}.json").write_text(json.dumps({"curves": state.curves, "best": state.best_epoch}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
