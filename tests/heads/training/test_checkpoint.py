"""Saved heads: one self-contained file, and errors for other files."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from features.errors import RunError, WeightsError
from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.registry import predict
from heads.splits.protocol import Split
from heads.training.checkpoint import load_head, save_head
from heads.training.train import train_head

ABOUT = {
    "labels": ["dog", "Säge"],
    "backbone": {"name": "mfcc", "sample_rate": 22050, "layers": [0]},
    "pooling": ["mean", "std"],
    "layer": 0,
}


def trained(options):
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 2
    features = (rng.normal(size=(60, 1, 7)) + 3 * targets[:, None, None]).astype(np.float32)
    split = Split(1, np.arange(30), np.arange(30, 45), np.arange(45, 60))
    return train_head(options, features, targets, [split], [0], n_classes=2).fits[0], features


@pytest.mark.parametrize("options", [LinearOptions(l2=0.1), MlpOptions(hidden=[[8, 4]], max_epochs=3)])
def test_a_saved_head_predicts_what_was_scored(tmp_path, options):
    fit, features = trained(options)
    path = tmp_path / "models" / "head.safetensors"
    save_head(path, fit.state, head=options.name, configuration=fit.configuration, extra={"fold": 1}, **ABOUT)
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode  # safetensors lets only the owner read
    saved = load_head(path)
    assert np.array_equal(saved.predict(features[fit.test_rows, 0]), fit.probabilities)
    assert saved.labels == ("dog", "Säge") and saved.backbone == ABOUT["backbone"]
    assert (saved.pooling, saved.layer, saved.head) == (("mean", "std"), 0, options.name)
    assert saved.configuration == fit.configuration and saved.extra == {"fold": 1}
    assert [file.name for file in path.parent.iterdir()] == ["head.safetensors"]
    assert fit.params_trained == sum(v.size for k, v in saved.state.items() if k[0] in "wb")


def test_features_of_another_dimension_are_refused():
    fit, _ = trained(LinearOptions(l2=0.1))
    with pytest.raises(ValueError, match=r"\(3, 8\).*needs \(n, 7\)"):
        predict("linear", fit.state, np.zeros((3, 8)))


def test_a_file_that_is_no_head_is_refused(tmp_path):
    path = tmp_path / "head.safetensors"
    with pytest.raises(WeightsError, match=r"head\.safetensors"):
        load_head(path)
    path.write_bytes(b"not one")
    with pytest.raises(WeightsError, match="not a readable head"):
        load_head(path)
    fit, _ = trained(LinearOptions(l2=0.1))
    save_file(fit.state, path)
    with pytest.raises(WeightsError, match="not a head"):
        load_head(path)
    save_file(
        fit.state, path, metadata={"audioheads-head": json.dumps({"format": "audioheads-head", "format_version": 99})}
    )
    with pytest.raises(WeightsError, match="head format 99"):
        load_head(path)
    save_head(path, fit.state, head="linear", configuration={}, **(ABOUT | {"labels": ["a", "b", "c"]}))
    with pytest.raises(WeightsError, match="3 labels do not fit"):
        load_head(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(WeightsError, match="not a readable head"):
        load_head(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "models").write_text("a file in the way")
    path = tmp_path / "models" / "head.safetensors"
    with pytest.raises(RunError, match="cannot write"):
        save_head(path, {"mean": np.zeros(1)}, head="linear", configuration={}, **ABOUT)
