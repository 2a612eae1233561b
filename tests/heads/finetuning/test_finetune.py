"""Training end to end: it learns, resumes bit-exactly, and keeps training, validation and test clips apart."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from heads.finetuning.checkpoint import LAST_FILE, STATE_KEY, AtomicCheckpointIO, TrainingState, read_best, read_state
from heads.finetuning.finetune import finetune
from heads.finetuning.inference import score
from heads.models.options import CnnOptions
from tests.heads.learnables import Stored, Task, same_weights

AUGMENT = {"time_mask_frames": 5, "noise": 0.1, "gain": [0.8, 1.2], "time_shift_s": 0.3, "mixup": 0.2}


def options(**changes):
    settings = {"epochs": 5, "batch_size": 8, "channels": [8, 8], "dropout": 0.5, "batch_norm": True, "threads": 1}
    return CnnOptions(name="cnn", **{**settings, **changes})


def run(task, folder, seed=0, **changes):
    return finetune(task.build, task.clips, task.rows, task.options, seed, folder, **changes)


class KilledError(Exception):
    """Like a kill: nothing after the last finished epoch is kept."""


STEPS = 3  # of an epoch: 24 training clips in batches of 8


def kill_in(epoch):
    """An `on_step` that ends the second step of an epoch, counted from 1."""
    steps = []

    def on_step(clips):
        steps.append(clips)
        if len(steps) == (epoch - 1) * STEPS + 2:
            raise KilledError

    return on_step


def test_it_learns_and_keeps_the_best_epoch_on_validation(tmp_path):
    task = Task(options(epochs=12, learning_rate=0.01), n_clips=80, strength=4.0)
    fitted = run(task, tmp_path)
    assert (fitted.probabilities.argmax(axis=1) == task.targets[task.rows.test]).mean() >= 0.75
    losses = [row["valid/loss"] for row in fitted.state.curves]
    assert fitted.state.best_epoch == int(np.argmin(losses))
    assert fitted.state.best_loss == min(losses)
    assert np.allclose(fitted.probabilities.sum(axis=1), 1, atol=1e-6)
    assert set(fitted.state.curves[0]) == {
        "valid/loss",
        "valid/accuracy",
        "train/loss",
        "train/accuracy",
        "learning_rate",
    }


@pytest.mark.parametrize("kind", ["plain", "sgd"])
def test_a_resumed_fit_is_bit_equal(tmp_path, kind):
    changes = {"plain": {"gradient_clip": 1.0, "schedule": "cosine", "augment": AUGMENT}, "sgd": {"optimizer": "sgd"}}
    task = Task(options(**changes[kind]))
    undisturbed = run(task, tmp_path / "a")
    with pytest.raises(KilledError):
        run(task, tmp_path / "killed", on_step=kill_in(3))
    assert read_state(tmp_path / "killed").epochs == 2
    (tmp_path / "killed").rename(tmp_path / "moved")
    torch.rand(1000)  # another process would be in another state
    seen = []
    resumed = run(task, tmp_path / "moved", on_epoch=lambda state: seen.append(state.epochs))
    assert seen == [3, 4, 5]
    assert np.array_equal(undisturbed.probabilities, resumed.probabilities)
    assert undisturbed.state.curves == resumed.state.curves
    assert same_weights(undisturbed.network, resumed.network)


def test_an_interrupted_fit_ends_with_an_interrupt_and_resumes(tmp_path):
    task = Task(options())
    undisturbed = run(task, tmp_path / "a")
    before = signal.getsignal(signal.SIGINT)
    steps = []

    def on_step(clips):
        steps.append(clips)
        if len(steps) == 2 * STEPS + 2:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            run(task, tmp_path / "b", on_step=on_step)
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from the first on
    assert len(steps) == 2 * STEPS + 2
    assert np.array_equal(undisturbed.probabilities, run(task, tmp_path / "b").probabilities)


def test_a_kill_between_two_files_leaves_the_best_weights(tmp_path, monkeypatch):
    task = Task(options(epochs=12, learning_rate=0.01), strength=4.0)
    write = AtomicCheckpointIO.save_checkpoint

    def deadly(self, checkpoint, path, storage_options=None):
        epoch = len(checkpoint[STATE_KEY]["curves"])
        if Path(path).name == LAST_FILE and epoch == 4:
            raise KilledError
        write(self, checkpoint, path)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", deadly)
        run(task, tmp_path / "b")
    state = read_state(tmp_path / "b")
    assert state.epochs == 3
    assert read_best(tmp_path / "b", state)
    losses = [row["valid/loss"] for row in run(task, tmp_path / "b").state.curves]
    assert np.argmin(losses[:3]) == 2 and losses[3] < losses[2]  # else no best weights were replaced


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path):
    class Dying:
        def __reduce__(self):
            raise KilledError

    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"values": torch.ones(3)}, path)
    with pytest.raises(KilledError):
        AtomicCheckpointIO().save_checkpoint({"values": torch.zeros(1000), "then": Dying()}, path)
    assert torch.load(path)["values"].tolist() == [1, 1, 1]


def test_the_best_epoch_is_the_first_with_the_lowest_loss():
    def best(*losses):
        state = TrainingState([{"valid/loss": loss} for loss in losses])
        return state.best_epoch, state.best_loss

    assert best() == (-1, np.inf)
    assert best(0.5, 0.25, 0.25, 0.75) == (1, 0.25)
    assert best(np.nan, 0.5) == (1, 0.5)
    assert best(np.nan, np.nan)[0] == 0


def test_losses_that_are_equal_in_float32_are_distinguished(tmp_path, monkeypatch):
    losses = iter([0.5, 0.5 - 1e-12, 0.5 - 2e-12, 0.5, 0.5])
    monkeypatch.setattr("heads.finetuning.lightning_module.log_loss", lambda *_: (next(losses), 0.5))
    fitted = run(Task(options(patience=2)), tmp_path)
    assert (fitted.state.best_epoch, fitted.state.epochs) == (2, 5)
    best = torch.load(tmp_path / "best-0002.ckpt", weights_only=True)
    assert len(best[STATE_KEY]["curves"]) == 3


@pytest.mark.slow
def test_two_processes_stop_together_and_agree(tmp_path):
    command = [sys.executable, "-m", "tests.heads.finetuning.ranks", str(tmp_path)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    one, other = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    losses = [row["valid/loss"] for row in one["curves"]]
    assert len(losses) - 1 - int(np.argmin(losses)) == 2  # the patience
    assert len(losses) < 50


@pytest.mark.e2e
def test_no_process_decides_alone_that_nothing_is_left_to_train(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in ("0", "1"):  # as torchrun starts them
        started = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        own = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
        command = [sys.executable, "-m", "tests.heads.finetuning.ranks", str(tmp_path), "stale"]
        ranks.append(subprocess.Popen(command, cwd=Path(__file__).parents[3], env={**os.environ, **started, **own}))
    try:
        assert [process.wait(timeout=600) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
    one, other = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    assert len(one["curves"]) > 2


def test_a_finished_fit_is_only_scored_again(tmp_path):
    task = Task(options(epochs=2))
    first = run(task, tmp_path)
    again = run(task, tmp_path, on_step=lambda clips: pytest.fail("trained again"))
    assert np.array_equal(first.probabilities, again.probabilities)


def test_seeds_differ(tmp_path):
    task = Task(options(epochs=1))
    assert not np.array_equal(run(task, tmp_path / "0").probabilities, run(task, tmp_path / "1", seed=1).probabilities)


def test_early_stopping_ends_a_fit_for_good(tmp_path):
    task = Task(options(epochs=50, patience=2, learning_rate=0.05), strength=0.0)  # nothing to learn
    state = run(task, tmp_path).state
    assert state.epochs < 50
    assert state.epochs - 1 - state.best_epoch == 2
    again = run(task, tmp_path, on_step=lambda clips: pytest.fail("trained again"))
    assert again.state.epochs == state.epochs


def test_checkpoints_hold_nothing_to_unpickle(tmp_path):
    task = Task(options(augment=AUGMENT))
    with pytest.raises(KilledError):
        run(task, tmp_path, on_step=kill_in(2))
    for path in (tmp_path / LAST_FILE, tmp_path / "best-0000.ckpt"):
        assert len(torch.load(path, weights_only=True)[STATE_KEY]["curves"]) == 1
    assert len(list(tmp_path.glob("*.ckpt"))) == 2


def test_only_training_clips_are_augmented(tmp_path):
    task = Task(options(epochs=1, augment=AUGMENT))
    seen = []
    plain = task.clips.augmenter

    class Watching:
        def __call__(self, inputs, lengths, *rest):
            seen.append(inputs.clone())
            return plain(inputs, lengths, *rest)

    object.__setattr__(task.clips, "augmenter", Watching())
    run(task, tmp_path)
    assert sum(map(len, seen)) == len(task.rows.train)


def test_test_clips_are_read_once_and_only_at_the_end(tmp_path):
    task = Task(options(epochs=3))
    reads = []
    fitted = run(task, tmp_path, on_epoch=lambda state: reads.append(set(task.frames.reads)))
    allowed = {*task.rows.train.tolist(), *task.rows.valid.tolist()}
    assert all(read <= allowed for read in reads)
    windows = sum(len(task.clips.windows.windows_of(clip)) for clip in task.rows.test)
    assert sum(clip in set(task.rows.test.tolist()) for clip in task.frames.reads) == windows
    assert len(fitted.probabilities) == len(task.rows.test)


def test_a_clip_in_windows_scores_the_mean_of_its_windows():
    class ByLevel(torch.nn.Module):
        def forward(self, inputs, lengths):
            level = inputs.mean(dim=(1, 2))
            return torch.stack([level, -level], dim=1)

    from heads.finetuning.crops import ScoringWindows

    frames = Stored([np.concatenate([np.full((10, 1), v, np.float32) for v in (1, 2, 4)]), np.ones((4, 1), np.float32)])
    windows = ScoringWindows(frames, 10, fill=0.0)
    probabilities = score(ByLevel(), windows, [0, 1], batch_size=2, device=torch.device("cpu"))
    expected = np.mean([1 / (1 + np.exp(-2 * level)) for level in (1, 2, 4)])
    assert probabilities[0, 0] == pytest.approx(expected)
    assert probabilities[1, 0] == pytest.approx(1 / (1 + np.exp(-2 * 0.4)))
