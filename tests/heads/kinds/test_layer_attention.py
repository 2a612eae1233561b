"""Attention over the frames of all layers: it learns which layer tells, and a fit is the same alone as in a job."""

import numpy as np
import pytest
import torch

from heads.batched.frame_blocks import ClipLayers
from heads.batched.job import MEMORY_BYTES
from heads.batched.stepped import plan
from heads.kinds.layer_attention import LayerAttentionOptions
from heads.training.checkpoint import load_head, save_head
from heads.training.train import train_head
from tests.heads.kinds.test_attention import SPLITS, D, clips, same, targets_of, train
from tests.heads.learnables import Stored

OPTIONS = LayerAttentionOptions(units=[8], learning_rate=3e-2, max_epochs=6, patience=3, batch_size=8)


def frames_of(row, arrays):
    return arrays[row].reshape(-1, 2, D)


def test_it_finds_the_layer_and_the_frames_that_tell():
    options = OPTIONS.model_copy(update={"max_epochs": 30, "patience": 30})
    for fit in train(clips(), options, seeds=[0]).fits:
        assert fit.layer == "all"
        assert (fit.probabilities.argmax(1) == targets_of("single-label")[fit.test_rows]).mean() > 0.9
        assert fit.state["layer_weights"].sum() == pytest.approx(1, abs=1e-6)
        assert fit.state["layer_weights"][1] > 0.6  # the first layer is noise
        assert fit.params_trained == (D + 2) * 8 + (D + 1) * 3 + 2


def test_layers_are_standardised_separately():
    arrays = clips()
    fit = train(arrays, OPTIONS, seeds=[0]).fits[0]
    frames = np.concatenate([frames_of(row, arrays) for row in SPLITS[0].train]).astype(np.float64)
    assert np.allclose(fit.state["mean"], frames.mean(0)) and np.allclose(fit.state["scale"], frames.std(0))


def test_a_fit_is_the_same_alone_as_in_the_job():
    options = OPTIONS.model_copy(update={"units": [8, 4], "learning_rate": [3e-2, 1e-2], "dropout": [0.0, 0.3]})
    together = train(clips(), options, seeds=[0, 1]).fits
    for fit in together:
        alone_options = OPTIONS.model_copy(update={name: [value] for name, value in fit.configuration.items()})
        split = [one for one in SPLITS if one.fold == fit.fold]
        alone = train(clips(), alone_options, seeds=[fit.seed], splits=split).fits[0]
        assert same(alone.state, fit.state)
        assert np.array_equal(alone.probabilities, fit.probabilities)


def test_a_job_is_announced_and_divided_by_its_memory(monkeypatch):
    two = OPTIONS.model_copy(update={"learning_rate": [3e-2, 1e-2]})  # two fits of each of two seeds
    expected = [fit.probabilities for fit in train(clips(), two, splits=SPLITS[:1]).fits]
    monkeypatch.setattr(plan, "NOTED_BYTES", 0)
    cores = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for memory, division in ((1, "1 × 1"), (MEMORY_BYTES, "2 × 2")):
            lines: list[str] = []
            found = train(clips(), two, splits=SPLITS[:1], memory=memory, note=lines.append)
            assert len(lines) == 1 and f", {division} fits at once, frames in the cache" in lines[0]
            for fit, wanted in zip(found.fits, expected, strict=True):
                assert np.array_equal(fit.probabilities, wanted)
    finally:
        torch.set_num_threads(cores)


def test_the_fits_of_a_fold_and_seed_read_each_minibatch_once():
    reads = []
    for rates in ([3e-2], [3e-2, 1e-2, 3e-3]):
        stored = Stored(clips())
        frames = ClipLayers(stored, np.arange(len(stored.arrays)), [4, 9])
        options = OPTIONS.model_copy(update={"learning_rate": rates, "patience": 6})
        train_head(options, frames, targets_of("single-label"), SPLITS, [0, 1], n_classes=3)
        reads.append(len(stored.reads))
    assert reads[0] == reads[1]


def test_one_chosen_layer_is_attention_on_that_layer():
    plain = train(clips(), seeds=[0], options=OPTIONS.model_copy(update={"layers": [4]})).fits[0]
    others = [np.concatenate([values[:, :D], values[:, :D] * 0], 1) for values in clips()]
    assert np.array_equal(
        train(others, seeds=[0], options=OPTIONS.model_copy(update={"layers": [4]})).fits[0].probabilities,
        plain.probabilities,
    )
    assert plain.state["layer_weights"].tolist() == [1.0]


def test_a_saved_head_predicts_what_was_scored(tmp_path):
    arrays = clips()
    fit = train(arrays, OPTIONS).fits[0]
    path = tmp_path / "head.safetensors"
    about = {"labels": ["a", "b", "c"], "backbone": {}, "pooling": ["frames"], "layer": fit.layer}
    save_head(path, fit.state, head="layer-attention", configuration=fit.configuration, **about)
    frames = [frames_of(row, arrays) for row in fit.test_rows]
    head = load_head(path)
    assert np.array_equal(head.predict(frames), fit.probabilities)
    with pytest.raises(ValueError, match=r"needs \(F, 2, 6\)"):
        head.predict([np.zeros((4, 6))])
