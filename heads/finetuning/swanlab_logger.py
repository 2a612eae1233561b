"""SwanLab's logger for Lightning, without output, finished at the end of its fit."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import swanlab
from lightning.pytorch.utilities import rank_zero_only
from swanlab.integration.pytorch_lightning import SwanLabLogger


class QuietSwanLabLogger(SwanLabLogger):
    """A SwanLab run of one fit.

    SwanLab's own logger prints, and it leaves a successful run open, so that the next fit would be logged into it.
    """

    _experiment: Any

    def __init__(self, folder: Path, mode: str, project: str, name: str, config: Mapping[str, Any]) -> None:
        """Set up a run that records the curves and the config, but nothing about the machine."""
        folder.mkdir(parents=True, exist_ok=True)
        probe = swanlab.Settings.Probe(hardware=False, runtime=False, requirements=False, git=False, monitor=False)
        terminal = swanlab.Settings.Terminal(proxy_type="none")
        super().__init__(
            project=project,
            name=name,
            mode=mode,
            log_dir=str(folder),
            config=dict(config),
            settings=swanlab.Settings(interactive=False, probe=probe, terminal=terminal),
            reinit=True,
        )

    @property
    def experiment(self) -> Any:
        """The run, started on first access."""
        with _silence():
            return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log one epoch."""
        with _silence():
            super().log_metrics(metrics, step)

    @rank_zero_only
    def finalize(self, status: str | None = None) -> None:
        """Finish the run."""
        if self._experiment is None:
            return
        with _silence():
            if status == "success":
                swanlab.finish()
            else:
                swanlab.finish(state="crashed", error=f"training ended as {status!r}")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard stdout and stderr."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
