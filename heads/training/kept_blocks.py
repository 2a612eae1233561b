"""Finished blocks of a job, kept in a folder while it runs, so that an interrupted job continues where it stopped."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from features.errors import WeightsError
from features.json_files import parse_object
from features.system.atomic_write import atomic_write
from heads.batched.blocks import BlockFit, Loader, Place
from heads.batched.job import ReadState, State

KEY = "audioheads-blocks"  # of the metadata
VERSION = 1
INTERVAL_S = 30.0  # between two writes
_log = logging.getLogger(__name__)


class KeptBlocks:
    """The finished blocks of one job, in files of a folder.

    A block is finished once all its configurations are trained. Finished blocks are written at most every `INTERVAL_S`,
    and when the job ends by an exception or an interrupt. Blocks whose states are more than arrays, as those of
    scikit-learn's estimators, are not kept. If the folder cannot be written, training goes on without it.
    """

    def __init__(self, folder: Path, job: str) -> None:
        """Prepare an empty collection.

        Args:
            folder: Folder of the files; it need not exist.
            job: Digest of everything that the blocks depend on.
        """
        self._folder, self._job = folder, job
        self._open: dict[Place, list[BlockFit]] = {}
        self._finished: list[list[BlockFit]] = []
        self._written = time.monotonic()

    def __enter__(self) -> KeptBlocks:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what is not written yet if the job was interrupted."""
        if kind is not None:
            self._write()

    def read(self, load: Loader) -> Iterator[BlockFit]:
        """Yield the candidates of the kept blocks. Only the best candidate of a block has states.

        Files that are damaged or of another job are deleted.

        Args:
            load: Returns the block of a place, for states that read its rows.
        """
        for path in sorted(self._folder.glob("*.safetensors")):
            try:
                found = list(self._of_file(path, load))
            except (OSError, SafetensorError, WeightsError, KeyError, TypeError, ValueError) as error:
                _log.debug("%s is not used: %s", path, error)
                with suppress(OSError):
                    path.unlink()
            else:
                yield from found

    def see(self, fitted: BlockFit, n_configurations: int) -> None:
        """Add a candidate of a block with some number of configurations."""
        block = self._open.setdefault(fitted.place, [])
        block.append(fitted)
        best = min(block, key=lambda one: one.rank)
        block[:] = [one if one is best else replace(one, states=()) for one in block]
        if len(block) == n_configurations:
            del self._open[fitted.place]
            if all(type(state) in (dict, ReadState) for state in best.states):
                self._finished.append(sorted(block, key=lambda one: one.configuration))
        if time.monotonic() - self._written >= INTERVAL_S:
            self._write()

    def _of_file(self, path: Path, load: Loader) -> Iterator[BlockFit]:
        """Yield the candidates of one file."""
        with safe_open(path, framework="numpy") as file:
            about = parse_object((file.metadata() or {}).get(KEY, "{}"), str(path), error=WeightsError)
            if (about.get("version"), about.get("job")) != (VERSION, self._job):
                raise WeightsError(f"{path}: blocks of another job")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        states: defaultdict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for name, values in arrays.items():
            owner, _, own = name.rpartition("/")
            states[owner][own] = values
        for at, block in enumerate(about["blocks"]):
            place = Place(*block["place"])
            best: list[State] = [
                held if rows is None else ReadState(held, rows, partial(load, place))
                for held, rows in ((states[f"{at}/{fit}"], rows) for fit, rows in enumerate(block["rows"]))
            ]
            of_all = states[f"{at}/all"]
            for number, params in enumerate(block["params"]):
                losses, epochs = of_all["losses"][number], of_all["epochs"][number]
                yield BlockFit(place, number, best if number == block["best"] else (), losses, epochs, params)

    def _write(self) -> None:
        """Write the finished blocks to another file."""
        self._written = time.monotonic()
        if not self._finished:
            return
        blocks: list[dict[str, Any]] = []
        arrays: dict[str, np.ndarray] = {}
        for at, block in enumerate(self._finished):
            best = next(one for one in block if one.states)
            rows = [state.rows if isinstance(state, ReadState) else None for state in best.states]
            params = [one.params_trained for one in block]
            blocks.append({"place": best.place, "best": best.configuration, "params": params, "rows": rows})
            arrays |= {f"{at}/all/losses": np.stack([one.valid_loss for one in block])}
            arrays |= {f"{at}/all/epochs": np.stack([one.epochs for one in block])}
            for fit, state in enumerate(best.states):
                arrays |= {f"{at}/{fit}/{name}": np.ascontiguousarray(values) for name, values in _held(state).items()}
        about = {"version": VERSION, "job": self._job, "blocks": blocks}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            number = len(list(self._folder.glob("*.safetensors")))
            with atomic_write(self._folder / f"{number:06d}.safetensors") as temporary:
                save_file(arrays, temporary, metadata={KEY: json.dumps(about)})
        except (OSError, SafetensorError) as error:
            _log.warning("finished blocks cannot be kept in %s: %s", self._folder, error)
        self._finished = []


def _held(state: State) -> Mapping[str, np.ndarray]:
    """Return the arrays of a state that are not read from the features."""
    return state.held if isinstance(state, ReadState) else state
