"""Train any network on cached clips with Lightning; a killed run goes on from its last finished epoch, bit for bit."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from heads.finetuning.checkpoint import (
    LAST_FILE,
    AtomicCheckpointIO,
    TrainingState,
    checkpoint_callbacks,
    read_best,
    read_state,
)
from heads.finetuning.inference import mixed_precision, resolve_precision, score
from heads.finetuning.lightning_module import Learner, TrainingClips
from heads.finetuning.network import StandardisedNetwork
from heads.finetuning.options import Recipe
from heads.finetuning.rng import n_batches

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
CHATTY = ("lightning.pytorch", "lightning.fabric", "lightning")


@dataclass(frozen=True)
class SplitRows:
    """Positions among the clips: disjoint, int64."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class FinetunedModel:
    """A trained network.

    Attributes:
        network: With the weights of its best epoch on validation.
        probabilities: Of each class for each test clip, (n_test, C) float32.
        state: How the training went.
    """

    network: StandardisedNetwork
    probabilities: np.ndarray
    state: TrainingState


def finetune(
    build: Callable[[], StandardisedNetwork],
    clips: TrainingClips,
    rows: SplitRows,
    recipe: Recipe,
    seed: int,
    folder: Path,
    *,
    device: str = "cpu",
    loggers: Callable[[TrainingState], Sequence[Logger]] = lambda state: (),
    on_step: Callable[[int], None] = lambda clips: None,
    on_epoch: Callable[[TrainingState], None] = lambda state: None,
) -> FinetunedModel:
    """Train on the training clips, keep the best epoch on validation, score the test clips once with it.

    Args:
        build: Makes the network; torch is seeded before it is called.
        clips: All clips.
        rows: Which of them train, validate and test.
        recipe: How to train.
        seed: Of the weights that start random, and of every draw in training.
        folder: Where the fit keeps its state; an earlier run's is gone on from.
        device: `cpu`, `cuda` or `cuda:k`.
        loggers: Opens what takes the curves, given how far an earlier run came.
        on_step: Told how many clips a step took.
        on_epoch: Told how the fit has gone after each epoch.

    Returns:
        The network, the test probabilities (none in the helping processes of several) and how training went.
    """
    folder.mkdir(parents=True, exist_ok=True)
    precision = resolve_precision(recipe.precision, device)
    torch.manual_seed(seed)
    network = build()
    state = read_state(folder) or TrainingState()
    learner = Learner(network, clips, rows.train, rows.valid, recipe, seed, state, on_step, on_epoch)
    with _threads(recipe.threads), _quiet():
        if not state.is_over(recipe.epochs):
            _fit(learner, recipe, precision, device, folder, loggers(state))
        if not is_main_process():
            return FinetunedModel(network, np.empty((0, clips.n_classes), np.float32), state)
        learner.load_state_dict(read_best(folder, state))
        target = torch.device(device)
        network.to(target)
        with mixed_precision(precision, target):
            probabilities = score(network, clips.windows, rows.test, recipe.batch_size, target)
    return FinetunedModel(network, probabilities.astype(np.float32), state)


def is_main_process() -> bool:
    """Whether this is the one process, of several that Lightning's strategy started, that writes results."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) == 0


def _fit(
    learner: Learner, recipe: Recipe, precision: str, device: str, folder: Path, loggers: Sequence[Logger]
) -> None:
    """Let Lightning train, from the last finished epoch where there is one."""
    kind = torch.device(device)
    devices: int | list[int] = recipe.devices
    if kind.index is not None and recipe.devices == 1:
        devices = [kind.index]
    trainer = lightning.Trainer(
        accelerator="gpu" if kind.type == "cuda" else kind.type,
        devices=devices,
        strategy=recipe.strategy,
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
        max_epochs=recipe.epochs,
        gradient_clip_val=recipe.gradient_clip,
        default_root_dir=folder,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=loggers,
        callbacks=checkpoint_callbacks(folder, recipe.patience),
        plugins=AtomicCheckpointIO(),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    numbers = range(n_batches(len(learner.train_clips), recipe.batch_size))
    steps: DataLoader[int] = DataLoader(numbers, batch_size=None)  # type: ignore[arg-type]
    once: DataLoader[int] = DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]
    last = folder / LAST_FILE if learner.state.epochs else None
    try:
        trainer.fit(learner, steps, once, ckpt_path=last, weights_only=True)
    except SystemExit as error:  # how Lightning ends on Ctrl-C
        raise KeyboardInterrupt from error


@contextlib.contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Run torch with a number of threads, then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's banners and hints from the terminal."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\b")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
