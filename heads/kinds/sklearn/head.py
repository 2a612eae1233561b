"""Any scikit-learn estimator as a head; fits run in parallel, one per core."""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import numpy as np
from pydantic import Field

from features.errors import RunError
from features.labels import Task
from heads.batched.inference import standardisation, standardized
from heads.batched.job import HeadType, Job, State
from heads.kinds.sklearn.skops_io import EstimatorState, as_array, check_skops, from_bytes
from heads.options import Configuration, HeadOptions

if TYPE_CHECKING:
    from heads.batched.blocks import Block, BlockFit, Loader, Place
    from heads.kinds.sklearn.estimators import EstimatorFit

ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
PARALLEL_S = 8.0  # processes are started only if the remaining fits take longer than this
_log = logging.getLogger(__name__)


class SklearnOptions(HeadOptions):
    """Any scikit-learn classifier or regressor.

    Attributes:
        estimator: Import path, such as `sklearn.svm.SVC`.
        parameters: Keyword arguments of the estimator. A list is a grid; an argument that is itself a list is
            written as a list in a list.
    """

    name: Literal["sklearn"] = "sklearn"
    estimator: ImportPath = "sklearn.linear_model.LogisticRegression"
    parameters: dict[str, Any | Annotated[list[Any], Field(min_length=1)]] = Field({})

    @property
    def title(self) -> str:
        """The head's name in tables: by default the class of the estimator."""
        return self.label or self.estimator.rpartition(".")[2]

    def configurations(self) -> list[Configuration]:
        """Return every point of the grid over the parameters that are lists."""
        lists = [value if isinstance(value, list) else [value] for value in self.parameters.values()]
        return [dict(zip(self.parameters, values, strict=True)) for values in product(*lists)]


class _Fit(NamedTuple):
    """One fit of a job: a block, a position in the grid and a position in the seeds."""

    place: Place
    configuration: int
    seed: int


def check_estimator(options: SklearnOptions, task: Task) -> list[Configuration]:
    """Import the estimator and build it with every point of the grid, before any training.

    Returns:
        The grid, without `random_state` unless the user set it.

    Raises:
        ConfigError: The path is not an estimator, the estimator is of the wrong kind, or it does not accept a
            parameter; the message starts with the option's name.
    """
    from heads.kinds.sklearn.estimators import build, check_purpose, import_estimator

    check_skops()
    estimator = import_estimator(options.estimator)
    grid = options.configurations()
    for point in grid:
        check_purpose(build(estimator, point), task)
    return grid


def fit_sklearn(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Fit every configuration on every block, each fit on one core; long jobs use one process per core.

    An estimator with an unset `random_state` is fitted once per seed; any other is fitted once for all seeds.
    Each kind of warning is reported once for all fits.

    Args:
        places: The blocks.
        load: Returns the block of a place.
        job: The grid, and the settings shared by all fits.

    Yields:
        One candidate per block and configuration; its validation loss is nan if a fit raised or predicted NaN.

    Raises:
        ConfigError: As `check_estimator`.
        RunError: Every fit on some split failed (the message has the first reason), or a process died.
    """
    from heads.kinds.sklearn.estimators import import_estimator, takes_seed

    options = cast(SklearnOptions, job.options)
    check_estimator(options, job.task)
    seeded = takes_seed(import_estimator(options.estimator), job.grid[0])
    seeds = range(len(job.seeds) if seeded else 1)
    fits = [_Fit(place, at, seed) for place in places for at in range(len(job.grid)) for seed in seeds]
    blocks = _Blocks(load)
    collected: dict[tuple[Place, int], dict[int, EstimatorFit]] = {}
    tally = _Tally(options.title)
    for fit, outcome in _outcomes(fits, partial(_call, job, blocks, seeded), options.title):
        key = fit.place, fit.configuration
        held = collected.setdefault(key, {})
        held[fit.seed] = outcome
        if len(held) == len(seeds):
            outcomes = [held[seed] for seed in seeds]
            del collected[key]
            tally.add(fit.place, outcomes)
            yield _candidate(fit, outcomes, blocks.scales[fit.place], job.task)
    tally.finish(quiet=job.epochs is not None)


def predict_sklearn(state: State, features: np.ndarray, task: Task = "single-label") -> np.ndarray:
    """Predict with a fitted estimator.

    Args:
        state: From `fit_sklearn`.
        features: Raw features of the head's layer and poolings, shape (n, D).
        task: The task, which determines the kind of outputs.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1).

    Raises:
        ValueError: The dimension of the features is not the one the head was trained on.
        WeightsError: The state contains types that are not trusted, see `heads.kinds.sklearn.skops_io`.
    """
    from heads.kinds.sklearn.estimators import answers

    estimator = from_bytes(state["estimator"].tobytes(), getattr(state, "trusted", ()))
    found = answers(estimator, standardized(state, features), state["classes"], int(state["n_outputs"][0]), task)
    if task == "regression":
        mean, scale = state.get("target", (0.0, 1.0))
        found = found * scale + mean
    return found.astype(np.float32)


class _Blocks:
    """Blocks as arrays on the host; keeps the last block, and the standardisation of all blocks."""

    def __init__(self, load: Loader) -> None:
        self.load = load
        self.scales: dict[Place, tuple[dict[str, np.ndarray], np.ndarray]] = {}
        self.last: tuple[Place, dict[str, np.ndarray]] | None = None

    def arrays(self, place: Place) -> dict[str, np.ndarray]:
        """Return `train`, `targets` and `valid` of one block."""
        if self.last is None or self.last[0] != place:
            block: Block = self.load(place)
            # Some estimators compute in the precision of their input.
            train, valid = (rows.cpu().numpy().astype(np.float64) for rows in (block.train, block.valid))
            targets = block.train_targets.cpu().numpy()
            self.last = place, {"train": train, "targets": targets, "valid": valid}
            self.scales[place] = standardisation(block), block.valid_targets.cpu().numpy()
        return self.last[1]


def _call(job: Job, blocks: _Blocks, seeded: bool, fit: _Fit) -> dict[str, Any]:
    """Return the arguments of `fit_estimator` for one fit."""
    options, point = cast(SklearnOptions, job.options), job.grid[fit.configuration]
    parameters = {**point, "random_state": job.seeds[fit.seed]} if seeded else point
    arrays = blocks.arrays(fit.place)
    return dict(path=options.estimator, parameters=parameters, task=job.task, n_outputs=job.n_outputs, **arrays)


def _outcomes(
    fits: Sequence[_Fit], call: Callable[[_Fit], dict[str, Any]], title: str
) -> Iterator[tuple[_Fit, EstimatorFit]]:
    """Fit in this process, and switch to one process per core if the remaining fits would take long."""
    from concurrent.futures.process import BrokenProcessPool

    from joblib import Parallel, cpu_count, delayed

    from heads.kinds.sklearn.estimators import fit_estimator

    started = time.perf_counter()
    for done, fit in enumerate(fits):
        each = (time.perf_counter() - started) / max(1, done)
        if done and cpu_count() > 1 and each * (len(fits) - done) > PARALLEL_S:
            rest = fits[done:]
            break
        # Copy the arguments: some estimators modify their input.
        yield fit, fit_estimator(**copy.deepcopy(call(fit)))
    else:
        return
    workers = Parallel(min(cpu_count(), len(rest)), return_as="generator", pre_dispatch="2*n_jobs", mmap_mode="c")
    try:
        yield from zip(rest, workers(delayed(fit_estimator)(**call(fit)) for fit in rest), strict=True)
    except BrokenProcessPool as error:
        raise RunError(f"{title}: a training process died, most often because memory ran out") from error


def _candidate(
    fit: _Fit, outcomes: Sequence[EstimatorFit], scales: tuple[dict[str, np.ndarray], np.ndarray], task: Task
) -> BlockFit:
    """Combine the fits of all seeds of one configuration on one block."""
    from heads.batched.blocks import BlockFit
    from heads.batched.losses import valid_loss

    standard, valid_targets = scales
    states: list[dict[str, np.ndarray]] = []
    losses = np.full(len(outcomes), np.nan)
    for at, outcome in enumerate(outcomes):
        if outcome.reason or outcome.valid is None or outcome.classes is None:
            states.append({})
            continue
        own = {
            "estimator": as_array(outcome.state),
            "classes": outcome.classes,
            "n_outputs": np.array([outcome.valid.shape[1]]),
        }
        states.append(EstimatorState({**standard, **own}, trusted="all"))
        if len(valid_targets):
            losses[at] = valid_loss(outcome.valid, valid_targets, task)
    return BlockFit(
        fit.place,
        fit.configuration,
        states,
        losses,
        np.array([outcome.rounds for outcome in outcomes]),
        max(outcome.n_numbers for outcome in outcomes),
    )


class _Tally:
    """Collects failures and warnings of a job's fits."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.fits = 0
        self.sound: Counter[int] = Counter()
        self.reasons: list[str] = []
        self.notes: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.by_decision = False

    def add(self, place: Place, outcomes: Sequence[EstimatorFit]) -> None:
        """Add the fits of all seeds of one configuration on one block."""
        self.sound[place.fold] += not any(outcome.reason for outcome in outcomes)
        for outcome in outcomes:
            self.fits += 1
            if outcome.reason:
                self.reasons.append(outcome.reason)
            for note in outcome.notes:
                category = note.partition(":")[0]
                self.notes[category] += 1
                self.first.setdefault(category, note)
            self.by_decision |= outcome.answers_by == "decision_function"

    def finish(self, *, quiet: bool) -> None:
        """Log one line per kind of failure or warning, unless `quiet`.

        Raises:
            RunError: On some split, no configuration was fitted with every seed.
        """
        if not all(self.sound.values()):
            raise RunError(f"{self.title}: every fit failed; the first: {self.reasons[0]}")
        if quiet:
            return
        if self.reasons:
            _log.warning(
                "%s: %d of %d fits failed; the first: %s", self.title, len(self.reasons), self.fits, self.reasons[0]
            )
        for category, count in self.notes.items():
            _log.warning("%s: %d of %d fits warned; %s", self.title, count, self.fits, self.first[category])
        if self.by_decision:
            _log.info("%s: no predict_proba; probabilities are a softmax of its decision_function", self.title)


HEAD = HeadType(
    SklearnOptions,
    fit_sklearn,
    predict_sklearn,
    apart=True,
    no_graph="is no arithmetic on arrays",
    check=check_estimator,
)
