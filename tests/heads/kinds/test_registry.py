"""The table of heads: every entry is a head of that name, and its options need no heavy libraries."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from heads.batched.inference import activate
from heads.batched.job import HeadType
from heads.kinds.registry import HEADS, head_type, options_class
from heads.training.train import train_head
from tests.heads.training.test_leak import N_CLASSES, SMALL, as_read, corpus

HEAVY = ("torch", "sklearn", "scipy", "pandas", "joblib", "skops")
SCRIPT = f"""
import json, sys
from heads.kinds.registry import HEADS, options_class
names = {{name: options_class(name)().name for name in HEADS}}
print(json.dumps([names, [module for module in {HEAVY} if module in sys.modules]]))
"""


@pytest.mark.parametrize("name", HEADS)
def test_every_line_is_a_head_of_that_name(name):
    found = head_type(name)
    assert isinstance(found, HeadType) and found.options is options_class(name)
    assert found.options().name == name and found.options().configurations()
    assert found.graph is not None or found.no_graph


def test_the_options_of_every_head_need_no_heavy_library():
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    names, loaded = json.loads(done.stdout)
    assert names == {name: name for name in HEADS}
    assert loaded == []


@pytest.mark.parametrize(
    ("name", "more"), [*((name, {}) for name in HEADS), ("mlp", {"norm": "layer"}), ("mlp", {"norm": "batch"})]
)
def test_a_graph_has_the_scores_that_the_head_predicts_with(name, more):
    graph = head_type(name).graph
    if graph is None:
        assert name in ("knn", "sklearn")
        return
    features, targets, splits = corpus("single-label")
    options = options_class(name).model_validate({"name": name, **SMALL.get(name, {}), **more})
    train = as_read(options, features)
    fit = train_head(options, train, targets, splits[:1], [0], n_classes=N_CLASSES).fits[0]
    arrays = {key: torch.from_numpy(np.asarray(values, dtype=np.float32)) for key, values in fit.state.items()}
    rng = np.random.default_rng(0)
    shape = {"layer": (9, 6), "layers": (9, 3, 6), "frames": (1, 9, 6), "layer-frames": (1, 9, 3, 6)}[options.reads]
    raw = rng.normal(size=shape).astype(np.float32)
    predicted = activate(graph(arrays, torch.from_numpy(raw)).numpy(), "single-label")
    assert predicted == pytest.approx(head_type(name).predict(fit.state, raw, "single-label"), abs=1e-5)
