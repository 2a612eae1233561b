"""Time of one clip and size of a trained model on the machine of the training, kept in `device.json` of its folder.

`latency_ms` is the median time from the samples of one clip to its scores. `realtime_factor` is the number of seconds
of audio per second of computing. `size_mb` is the size of backbone and head on disk, in 10^6 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.results.run_folder import read_json, write_json
from pipeline.results.table import DEVICE_COLUMNS

DEVICE_FILE = "device.json"


def write_device_costs(folder: Path, settings: Mapping[str, Any], costs: Mapping[str, Any]) -> None:
    """Keep the figures of a trained model.

    Args:
        folder: Its folder in the run.
        settings: The settings of the measurement.
        costs: Values of `DEVICE_COLUMNS` and details, as JSON values; a column without a value is None.

    Raises:
        RunError: The file cannot be written.
    """
    write_json(folder / DEVICE_FILE, {"settings": dict(settings), **costs})


def read_device_costs(folder: Path) -> dict[str, Any]:
    """Return what `write_device_costs` has kept; empty if the model was not measured."""
    return read_json(folder / DEVICE_FILE) or {}


def device_columns(folder: Path) -> dict[str, Any]:
    """Return the columns of the results table; empty values if the model was not measured."""
    found = read_device_costs(folder)
    return {name: found.get(name) for name in DEVICE_COLUMNS}
