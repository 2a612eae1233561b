"""Training end to end: it learns, it resumes bit for bit, it keeps sides apart."""

import numpy as np
import pytest
import torch

from heads.finetuning.checkpoint import LAST_FILE, read_course
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
    """Stands in for a kill: nothing after the last finished epoch is kept."""


def kill_after(epochs):
    def on_epoch(course):
        if course.epochs == epochs:
            raise KilledError

    return on_epoch


def test_it_learns_and_keeps_the_best_epoch_on_validation(tmp_path):
    task = Task(options(epochs=12, learning_rate=0.01), n_clips=80, strength=4.0)
    fitted = run(task, tmp_path)
    assert (fitted.probabilities.argmax(axis=1) == task.targets[task.rows.test]).mean() >= 0.75
    losses = [row["valid/loss"] for row in fitted.course.curves]
    assert fitted.course.best_epoch == int(np.argmin(losses))
    assert fitted.course.best_loss == min(losses)
    assert np.allclose(fitted.probabilities.sum(axis=1), 1, atol=1e-6)
    assert set(fitted.course.curves[0]) == {
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
        run(task, tmp_path / "b", on_epoch=kill_after(2))
    assert read_course(tmp_path / "b").epochs == 2
    torch.rand(1000)  # another process would be in another state
    seen = []
    resumed = run(task, tmp_path / "b", on_epoch=lambda course: seen.append(course.epochs))
    assert seen == [3, 4, 5]
    assert np.array_equal(undisturbed.probabilities, resumed.probabilities)
    assert undisturbed.course.curves == resumed.course.curves
    assert same_weights(undisturbed.network, resumed.network)


def test_a_finished_fit_is_only_scored_again(tmp_path):
    task = Task(options(epochs=2))
    first = run(task, tmp_path)
    assert not (tmp_path / LAST_FILE).exists() or read_course(tmp_path).epochs == 2
    again = run(task, tmp_path, on_step=lambda clips: pytest.fail("trained again"))
    assert np.array_equal(first.probabilities, again.probabilities)


def test_seeds_differ(tmp_path):
    task = Task(options(epochs=1))
    assert not np.array_equal(run(task, tmp_path / "0").probabilities, run(task, tmp_path / "1", seed=1).probabilities)


def test_early_stopping_ends_a_fit_and_stays_ended(tmp_path):
    task = Task(options(epochs=50, patience=2, learning_rate=0.05), strength=0.0)  # nothing to learn
    course = run(task, tmp_path).course
    assert course.epochs < 50
    assert course.epochs - 1 - course.best_epoch == 2
    assert run(task, tmp_path).course.epochs == course.epochs


def test_checkpoints_hold_nothing_to_unpickle(tmp_path):
    task = Task(options(augment=AUGMENT))
    with pytest.raises(KilledError):
        run(task, tmp_path, on_epoch=kill_after(1))
    assert torch.load(tmp_path / LAST_FILE, weights_only=True)["audioheads"]["epochs"] == 1
    assert len(list(tmp_path.glob("best-*.safetensors"))) == 1


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
    fitted = run(task, tmp_path, on_epoch=lambda course: reads.append(set(task.frames.reads)))
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

    from heads.finetuning.crops import Windows

    frames = Stored([np.concatenate([np.full((10, 1), v, np.float32) for v in (1, 2, 4)]), np.ones((4, 1), np.float32)])
    windows = Windows(frames, 10, fill=0.0)
    probabilities = score(ByLevel(), windows, [0, 1], batch_size=2, device=torch.device("cpu"))
    expected = np.mean([1 / (1 + np.exp(-2 * level)) for level in (1, 2, 4)])
    assert probabilities[0, 0] == pytest.approx(expected)
    assert probabilities[1, 0] == pytest.approx(1 / (1 + np.exp(-2 * 0.4)))
