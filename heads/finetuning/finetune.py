"""Train a network on cached clips with Lightning; an interrupted run resumes bit-exactly after its last epoch."""

from __future__ import annotations

import contextlib
import logging
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
from heads.finetuning.processes import agreed, is_main_process
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
        network: The network with the weights of its best validation epoch.
        probabilities: Class probabilities of the test clips, (n_test, C) float32.
        valid_probabilities: Those of the validation clips, (n_valid, C) float32.
        state: The training state.
    """

    network: StandardisedNetwork
    probabilities: np.ndarray
    valid_probabilities: np.ndarray
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
    """Train on the training clips, keep the best validation epoch, and score test and validation clips once with it.

    Args:
        build: Builds the network; torch is seeded before the call.
        clips: All clips.
        rows: Training, validation and test clips.
        recipe: Training settings.
        seed: Seed of random initial weights and of all random draws in training.
        folder: Folder of the fit's state; an earlier run's state in it is resumed.
        device: `cpu`, `cuda` or `cuda:k`.
        loggers: Opens the loggers, given the state of an earlier run.
        on_step: Called after each step with its number of clips.
        on_epoch: Called after each epoch with the training state.

    Returns:
        The network, the probabilities (empty except in the main process) and the training state.
    """
    folder.mkdir(parents=True, exist_ok=True)
    precision = resolve_precision(recipe.precision, device)
    torch.manual_seed(seed)
    network = build()
    state = agreed(read_state(folder) or TrainingState(), device)
    learner = Learner(network, clips, rows.train, rows.valid, recipe, seed, state, on_step, on_epoch)
    with _threads(recipe.threads), _quiet():
        if not state.is_over(recipe.epochs):
            _fit(learner, recipe, precision, device, folder, loggers(state))
        if not is_main_process():
            nothing = np.empty((0, clips.n_classes), np.float32)
            return FinetunedModel(network, nothing, nothing, state)
        learner.load_state_dict(read_best(folder, state))
        target = torch.device(device)
        network.to(target)
        with mixed_precision(precision, target):
            test, valid = (
                score(network, clips.windows, side, recipe.batch_size, target).astype(np.float32)
                for side in (rows.test, rows.valid)
            )
    return FinetunedModel(network, test, valid, state)


def _fit(
    learner: Learner, recipe: Recipe, precision: str, device: str, folder: Path, loggers: Sequence[Logger]
) -> None:
    """Train with Lightning, starting after the last finished epoch if there is one."""
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
    except SystemExit as error:  # raised by Lightning on Ctrl-C
        raise KeyboardInterrupt from error


@contextlib.contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Set the number of torch's threads, then restore it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Lightning's banners and hints."""
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
