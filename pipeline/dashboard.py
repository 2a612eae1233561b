"""`make dashboard`: open the training curves under a folder of runs in the viewer that can read them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from features.errors import AudioheadsError, UserError
from pipeline.console import Console


def viewer(runs: Path, extra: Sequence[str] = ()) -> list[str]:
    """Return the command that shows the curves recorded under `runs`.

    Args:
        runs: The config's `output.runs`, or one run in it.
        extra: Options passed to the viewer.

    Raises:
        UserError: Nothing is recorded there, or its viewer is not installed.
    """
    found = {name: sorted(runs.rglob(f"tracking/{name}")) for name in ("tensorboard", "swanlab", "csv")}
    if found["tensorboard"]:
        if find_spec("tensorboard") is None:
            raise UserError("tensorboard is not installed; pip install 'audioheads[tensorboard]'")
        return [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs), *extra]
    if found["swanlab"]:
        folder = str(found["swanlab"][0])
        if find_spec("swanboard") is None:
            raise UserError(
                f"{folder} needs SwanLab's dashboard (pip install 'swanlab[dashboard]'), "
                "or `swanlab sync` with an account; `tracking: [tensorboard]` needs neither"
            )
        return [sys.executable, "-m", "swanlab", "watch", folder, *extra]
    if found["csv"]:
        raise UserError(f"only CSV curves are recorded, in {found['csv'][0]}; add `tensorboard` to `tracking`")
    raise UserError(f"{runs}: no training curves; set `tracking: [tensorboard]` and run `audioheads finetune`")


def main() -> None:
    """Open the viewer and wait until it is stopped."""
    console = Console()
    try:
        command = viewer(Path(sys.argv[1]), sys.argv[2:])
    except AudioheadsError as error:
        console.error(str(error))
        sys.exit(error.exit_code)
    try:
        sys.exit(subprocess.call(command))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
