"""`audioheads finetune` that kills itself in the middle of an epoch, as a power cut would."""

import os
import signal
import sys
from pathlib import Path

from heads.finetuning.lightning_module import Learner
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.finetune.run import run_finetune


def main(config: Path, epoch: int) -> None:
    step = Learner.training_step

    def deadly(self: Learner, number: int, batch_idx: int):
        if self.current_epoch == epoch and number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, number, batch_idx)

    Learner.training_step = deadly
    run_finetune(load_config(config), device="cpu", dry_run=False, strict=False, console=Console())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
