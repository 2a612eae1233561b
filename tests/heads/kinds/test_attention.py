"""Attention pooling: padding has no weight, test clips are not read in training, saved heads predict the same."""

import numpy as np
import pytest
import torch

from features.errors import ConfigError, RunError
from heads.batched.frame_blocks import ClipLayers
from heads.batched.rng import dropout_stream, initial_layers, row_order
from heads.batched.stepped import frame_batches
from heads.batched.stepped.attention import attend
from heads.batched.stepped.frame_batches import Part, pack
from heads.kinds.attention import AttentionOptions
from heads.splits.protocol import Split
from heads.training.checkpoint import load_head, save_head
from heads.training.train import train_head

pytestmark = pytest.mark.thorough

N, D = 54, 6
FOLD = np.arange(N) // 3 % 3
SPLITS = [Split(k, *(np.flatnonzero((k + j) % 3 == FOLD) for j in (2, 1, 0))) for k in range(2)]
OPTIONS = AttentionOptions(layers="all", units=[8, 4], learning_rate=3e-2, max_epochs=6, patience=3, batch_size=8)


class Stored:
    """`ClipFrames` of arrays."""

    def __init__(self, arrays):
        self.arrays = arrays
        self.lengths = np.array([len(values) for values in arrays])
        self.dim = arrays[0].shape[1]

    def read(self, clip, start=0, stop=None):
        return self.arrays[clip][start:stop]


def targets_of(task):
    classes = np.arange(N) % 3
    if task == "multi-label":
        return np.stack([classes == 0, classes > 0], 1).astype(np.float32)
    return classes if task == "single-label" else classes * 20.0 + 5


def clips(dtype=np.float32):
    """One frame in five tells the class, on the second of two layers; the rest is noise."""
    rng = np.random.default_rng(0)
    arrays = []
    for row in range(N):
        frames = rng.normal(size=(rng.integers(5, 60), 2, D)) + 3
        frames[::5, 1, :3] += 6 * np.eye(3)[row % 3]
        frames[::5, 1, 3] += 6
        arrays.append(frames.reshape(len(frames), -1).astype(dtype))
    return arrays


def train(arrays, options=OPTIONS, task="single-label", seeds=(0, 1), targets=None, splits=SPLITS, **kwargs):
    positions = np.arange(N) if len(arrays) == N else kwargs.pop("positions")
    frames = ClipLayers(Stored(arrays), positions, [4, 9])
    n = {"single-label": 3, "multi-label": 2, "regression": 1}[task]
    targets = targets_of(task) if targets is None else targets
    return train_head(
        options, frames, targets, splits, list(seeds), n_classes=n, task=task, layer_names=[4, 9], **kwargs
    )


def same(one, other, atol=0.0):
    return set(one) == set(other) and all(np.allclose(one[name], other[name], rtol=0, atol=atol) for name in one)


@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
def test_it_finds_the_frames_that_tell(task):
    loss = {"loss": "ccc"} if task == "regression" else {"class_weight": "balanced", "label_smoothing": 0.05}
    options = OPTIONS.model_copy(update={"max_epochs": 40, "units": [8], "patience": 40, **loss})
    y = targets_of(task)
    for fit in train(clips(), options, task, seeds=[0]).fits:
        wanted, predicted = y[fit.test_rows], fit.probabilities
        assert fit.layer == 9 and np.isfinite(fit.valid_loss) and fit.params_trained == 65 + 7 * predicted.shape[1] - 1
        if task == "single-label":
            assert (predicted.argmax(1) == wanted).mean() > 0.9
        elif task == "multi-label":
            assert ((predicted > 0.5) == wanted).mean() > 0.9
        else:
            assert np.corrcoef(predicted[:, 0], wanted)[0, 1] > 0.9 and abs(predicted.mean() - wanted.mean()) < 5


def plain_loop(options, split, frames, seed):
    """One fit by autograd and torch's AdamW, clip by clip: epochs, validation loss and test probabilities."""
    point, y = options.configurations()[0], torch.from_numpy(targets_of("single-label"))
    (first, bias), (second, _) = initial_layers(seed, (D, point["units"], 1))
    starts = first, bias, second[:, 0], torch.zeros(D, 3), torch.zeros(3)
    v, b, w, out, out_bias = weights = [start.clone().requires_grad_() for start in starts]
    optimizer = torch.optim.AdamW(weights, lr=point["learning_rate"], weight_decay=point["weight_decay"])

    def scores(rows, draws=None):
        x = torch.stack([((frames[row] @ v + b).tanh() @ w).softmax(0) @ frames[row] for row in rows])
        keep = 1 - point["dropout"]
        return (x if draws is None else x * (draws[: len(x)] < keep) / keep) @ out + out_bias

    best = np.inf, 0, None
    for epoch in range(1, options.max_epochs + 1):
        order, stream = row_order(seed, epoch, len(split.train)), dropout_stream(seed, epoch, torch.device("cpu"))
        for start in range(0, len(order), options.batch_size):
            rows = split.train[order[start : start + options.batch_size]]
            optimizer.zero_grad()
            draws = torch.rand((options.batch_size, D), generator=stream)
            torch.nn.functional.cross_entropy(scores(rows, draws), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(torch.nn.functional.cross_entropy(scores(split.valid), y[split.valid]))
            if loss < best[0]:
                best = loss, epoch, scores(split.test).softmax(1).numpy()
        if epoch - best[1] >= options.patience:
            break
    return best


def test_training_is_that_of_a_plain_torch_loop():
    options = OPTIONS.model_copy(update={"units": [8], "layers": [9], "max_epochs": 12})
    arrays = [values.reshape(-1, 2, D)[:, 1] for values in clips()]
    for fit in train(clips(), options, seeds=[5]).fits:
        split = SPLITS[fit.fold]
        rows = np.concatenate([arrays[row] for row in split.train])
        frames = [torch.from_numpy((values - rows.mean(0)) / rows.std(0)) for values in arrays]
        loss, epochs, outputs = plain_loop(options, split, frames, fit.seed)
        assert fit.epochs == epochs
        assert abs(fit.valid_loss - loss) < 1e-5 and np.abs(fit.probabilities - outputs).max() < 1e-4


def weights_of(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"attention_weight": (2, D, 16), "attention_bias": (2, 1, 16), "attention_score": (2, 16, 1)}
    return {name: torch.from_numpy(rng.normal(size=shape).astype(np.float32) * 3) for name, shape in shapes.items()}


def test_a_clip_does_not_feel_the_padding_nor_its_neighbours():
    rng = np.random.default_rng(1)
    lengths = torch.tensor([40, 17, 3, 1])
    padded = torch.full((1, 4, 40, D), 50.0)
    for at, length in enumerate(lengths):
        padded[0, at, :length] = torch.from_numpy(rng.normal(size=(length, D)).astype(np.float32))
    among = attend(weights_of(), Part(padded, torch.arange(40) >= lengths[:, None], torch.arange(4)))
    for at, length in enumerate(lengths):
        alone = attend(weights_of(), Part(padded[:, at : at + 1, :length].contiguous(), None, torch.zeros(1)))
        one, other = (each.weighted[:, k] / each.total[:, k, None] for each, k in ((alone, 0), (among, at)))
        assert (one - other).norm() <= 1e-6 * one.norm()


def test_parts_are_bounded_and_hold_every_frame_once():
    lengths = [5, 100, 7, 33, 250, 1, 64]
    parts = pack(lengths, 64)
    assert all(len(part) * max(piece.stop - piece.start for piece in part) <= 64 for part in parts)
    frames = sorted((piece.at, frame) for part in parts for piece in part for frame in range(piece.start, piece.stop))
    assert frames == [(at, frame) for at, length in enumerate(lengths) for frame in range(length)]


def test_small_parts_and_cut_clips_train_and_predict_the_same(monkeypatch):
    options = OPTIONS.model_copy(update={"max_epochs": 2})
    whole = train(clips(), options, seeds=[0])
    monkeypatch.setattr(frame_batches, "MAX_FRAMES", 16)
    cut = train(clips(), options, seeds=[0])
    for one, other in zip(whole.fits, cut.fits, strict=True):
        assert one.epochs == other.epochs
        assert np.allclose(one.probabilities, other.probabilities, atol=1e-4)


def test_frames_are_standardised_by_those_of_the_training_rows():
    arrays = clips(np.float16)
    for fit in train(arrays).fits:
        rows = SPLITS[fit.fold].train
        layer = [4, 9].index(fit.layer)
        frames = np.concatenate([arrays[row].reshape(-1, 2, D)[:, layer] for row in rows]).astype(np.float64)
        assert np.allclose(fit.state["mean"], frames.mean(0)) and np.allclose(fit.state["scale"], frames.std(0))


def test_nothing_chosen_or_trained_depends_on_test_rows():
    arrays, y = clips(), targets_of("single-label")
    before = train(arrays)
    test = SPLITS[0].test
    other_y, others = y.copy(), list(arrays)
    other_y[test] = (y[test] + 1) % 3
    for row in test:
        others[row] = others[row][:3] * 9
    for after in (train(others), train(arrays, targets=other_y)):
        assert before.candidates[0, 0] == after.candidates[0, 0]
        assert before.candidates[1, 0] != after.candidates[1, 0]
        for one, other in zip(before.fits, after.fits, strict=True):
            assert same(one.state, other.state) == (one.fold == 0)


def test_a_seed_repeats_and_another_differs():
    one, two = train(clips(), seeds=[3, 5]).fits[:2]
    assert not np.array_equal(one.probabilities, two.probabilities)
    assert np.array_equal(train(clips(), seeds=[5]).fits[0].probabilities, two.probabilities) or (
        one.configuration != two.configuration
    )


def test_without_validation_rows_it_trains_to_the_end_and_refit_as_long_as_was_best():
    no_valid = [Split(0, SPLITS[0].train, SPLITS[0].train[:0], SPLITS[0].test)]
    options = OPTIONS.model_copy(update={"units": [8], "layers": "last"})
    fit = train(clips(), options, splits=no_valid).fits[0]
    assert fit.epochs == 6 and np.isnan(fit.valid_loss)
    with pytest.raises(ConfigError, match="no validation clips to choose"):
        train(clips(), OPTIONS, splits=no_valid)
    plain, refitted = (train(clips(), options, refit=refit).fits[0] for refit in (False, True))
    assert plain.epochs == refitted.epochs and not same(plain.state, refitted.state)
    joined = np.union1d(SPLITS[0].train, SPLITS[0].valid)
    frames = np.concatenate([clips()[row].reshape(-1, 2, D)[:, 1] for row in joined])
    assert np.allclose(refitted.state["mean"], frames.mean(0, dtype=np.float64))


def test_a_saved_head_predicts_what_was_scored(tmp_path):
    arrays = clips()
    fit = train(arrays).fits[0]
    path = tmp_path / "head.safetensors"
    about = {"labels": ["a", "b", "c"], "backbone": {}, "pooling": ["frames"], "layer": fit.layer}
    save_head(path, fit.state, head="attention", configuration=fit.configuration, **about)
    layer = [4, 9].index(fit.layer)
    frames = [arrays[row].reshape(-1, 2, D)[:, layer] for row in fit.test_rows]
    head = load_head(path)
    assert np.array_equal(head.predict(frames), fit.probabilities)
    assert np.array_equal(head.predict(frames[3:4]), fit.probabilities[3:4])
    with pytest.raises(ValueError, match=r"needs \(F, 6\)"):
        head.predict([np.zeros((4, 7))])


def test_a_diverging_configuration_is_not_chosen_and_bad_frames_are_named():
    options = OPTIONS.model_copy(update={"learning_rate": [1e30, 1e-2], "units": [4]})
    result = train(clips(), options, seeds=[0])
    assert all(fit.configuration["learning_rate"] == 1e-2 for fit in result.fits)
    arrays = clips()
    arrays[7][2, 1] = np.nan
    with pytest.raises(RunError, match="row 7 are NaN or infinite"):
        train(arrays)
    kept = np.delete(np.arange(N), 7)
    positions = np.full(N, -1)
    positions[kept] = np.arange(N - 1)
    without = [Split(s.fold, *(np.setdiff1d(rows, [7]) for rows in (s.train, s.valid, s.test))) for s in SPLITS]
    assert train([arrays[row] for row in kept], splits=without, positions=positions).fits
