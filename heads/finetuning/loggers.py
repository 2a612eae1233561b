"""Curves of training for people: TensorBoard, SwanLab, CSV, several at once. None of them prints."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, model_validator

from features.errors import ConfigError

Curves = Sequence[Mapping[str, float]]
INSTALL = "pip install 'audioheads[{extra}]'"


class Tracking(BaseModel):
    """One entry of `tracking`.

    Attributes:
        name: Where curves go.
        mode: SwanLab's: `offline` needs no account, `online` does; `local` needs its dashboard extra.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["tensorboard", "swanlab", "csv"]
    mode: Literal["offline", "local", "online"] = "offline"

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Tracker(Protocol):
    """Takes the curves of one fit."""

    def log(self, curves: Curves) -> None:
        """The numbers of all finished epochs; the last are new."""

    def close(self) -> None:
        """The fit is over."""


def check_tracking(entries: Sequence[Tracking]) -> None:
    """Raise `ConfigError`, before anything is trained, where a tracker cannot work here."""
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


def open_trackers(
    entries: Sequence[Tracking], folder: Path, project: str, name: str, config: Mapping[str, Any], done: int
) -> list[Tracker]:
    """Trackers of one fit.

    Args:
        entries: Of the config; already checked.
        folder: Each tracker writes to its own folder here.
        project: The experiment's name.
        name: The fit's: `resnet18/fold-1-seed-0`.
        config: What to keep beside the curves.
        done: Epochs that an earlier run of this fit has logged.
    """
    trackers: list[Tracker] = []
    for entry in entries:
        if entry.name == "tensorboard":
            trackers.append(_TensorBoard(folder / "tensorboard" / name, config, done))
        elif entry.name == "csv":
            trackers.append(_Csv(folder / "csv" / f"{name}.csv", config))
        else:
            trackers.append(_SwanLab(folder / "swanlab", entry.mode, project, name, config, done))
    return trackers


class _Csv:
    """One line an epoch, and the config beside it."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        import yaml

        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")

    def log(self, curves: Curves) -> None:
        """Write the whole file anew."""
        with self._path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["epoch", *curves[0]])
            writer.writerows([epoch, *row.values()] for epoch, row in enumerate(curves))

    def close(self) -> None:
        """Nothing is open."""


class _TensorBoard:
    """Event files that TensorBoard reads."""

    def __init__(self, folder: Path, config: Mapping[str, Any], done: int) -> None:
        import yaml
        from torch.utils.tensorboard import SummaryWriter

        self._done = done
        self._writer = SummaryWriter(str(folder))
        if not done:
            text = yaml.safe_dump(dict(config), sort_keys=False)
            self._writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))

    def log(self, curves: Curves) -> None:
        """Add the epochs that are not there yet."""
        for epoch in range(self._done, len(curves)):
            for name, value in curves[epoch].items():
                self._writer.add_scalar(name, value, epoch)
        self._done = max(self._done, len(curves))
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class _SwanLab:
    """A SwanLab run; a resumed fit's run holds all epochs again, since a run cannot be reopened offline."""

    def __init__(self, folder: Path, mode: str, project: str, name: str, config: Mapping[str, Any], done: int) -> None:
        import swanlab

        folder.mkdir(parents=True, exist_ok=True)
        self._done = 0
        probe = swanlab.Settings.Probe(hardware=False, runtime=False, requirements=False, git=False, monitor=False)
        settings = swanlab.Settings(
            interactive=False, probe=probe, terminal=swanlab.Settings.Terminal(proxy_type="none")
        )
        with _silence():
            self._run = swanlab.init(
                project=project,
                name=name,
                mode=mode,
                log_dir=str(folder),
                config=dict(config),
                settings=settings,
                reinit=True,
            )

    def log(self, curves: Curves) -> None:
        """Add the epochs that are not there yet."""
        import swanlab

        with _silence():
            for epoch in range(self._done, len(curves)):
                swanlab.log(dict(curves[epoch]), step=epoch)
        self._done = max(self._done, len(curves))

    def close(self) -> None:
        """Finish the run."""
        import swanlab

        with _silence():
            swanlab.finish()


@contextlib.contextmanager
def _silence() -> Any:
    """Swallow what a library prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
