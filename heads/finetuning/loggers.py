"""Lightning loggers for the config's `tracking`: TensorBoard, SwanLab and CSV, without terminal output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from features.errors import ConfigError
from heads.finetuning.options import Tracking

INSTALL = "pip install 'audioheads[{extra}]'"


def check_tracking(entries: Sequence[Tracking]) -> None:
    """Check before training that all loggers are installed.

    Raises:
        ConfigError: A logger or its dashboard is not installed; the message states how to install it.
    """
    for entry in entries:
        if entry.name == "tensorboard" and find_spec("tensorboard") is None:
            raise ConfigError(f"tracking: tensorboard is not installed; {INSTALL.format(extra='tensorboard')}")
        if entry.name == "swanlab" and find_spec("swanlab") is None:
            raise ConfigError(f"tracking: swanlab is not installed; {INSTALL.format(extra='swanlab')}")
        if entry.name == "swanlab" and entry.mode == "local" and find_spec("swanboard") is None:
            raise ConfigError(
                "tracking: swanlab's mode `local` needs its dashboard, which is not installed; "
                "pip install 'swanlab[dashboard]', or use mode `offline`"
            )


def open_loggers(
    entries: Sequence[Tracking], folder: Path, project: str, name: str, config: Mapping[str, Any]
) -> list[Logger]:
    """Open the loggers of one fit. Each starts empty: the epochs of an earlier run have to be logged again.

    Args:
        entries: The config's `tracking`, already checked.
        folder: Parent of the loggers' folders.
        project: The experiment's name.
        name: The fit's name, such as `resnet18/fold-1-seed-0`.
        config: Settings to store with the curves.
    """
    return [_open(entry, folder / entry.name, project, name, config) for entry in entries]


def _open(entry: Tracking, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> Logger:
    if entry.name == "swanlab":
        from heads.finetuning.swanlab_logger import QuietSwanLabLogger

        return QuietSwanLabLogger(folder, entry.mode, project, name, config)
    if entry.name == "csv":
        table = CSVLogger(folder, name="", version=name)
        table.log_hyperparams(dict(config))
        return table
    # A purge from step 0 makes TensorBoard ignore earlier event files of this fit.
    board = TensorBoardLogger(folder, name="", version=name, default_hp_metric=False, purge_step=0)
    board.log_hyperparams(dict(config))
    text = yaml.safe_dump(dict(config), sort_keys=False)
    board.experiment.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))
    return board
