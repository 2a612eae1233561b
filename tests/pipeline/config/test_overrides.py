"""`--set key.path=value`: which value it changes, and the error if there is none."""

import copy

import pytest

from features.errors import ConfigError
from pipeline.config.overrides import apply_overrides

VALUES = {
    "name": "x",
    "features": {
        "batch_s": 60,
        "backbones": [
            {"name": "mfcc"},
            {"name": "wav2vec2", "weights": "random"},
            {"name": "wav2vec2", "label": "v1.0", "weights": "a/b"},
            {"name": "vggish", "label": "pca"},
        ],
    },
    "heads": [{"name": "linear"}, {"name": "mlp", "hidden": [256]}],
    "seeds": [0, 1],
}


def applied(*overrides):
    values = copy.deepcopy(VALUES)
    apply_overrides(values, overrides)
    return values


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("name=y", ["name"], "y"),
        ("features.batch_s=1e-3", ["features", "batch_s"], 0.001),
        ("features.precision=bf16", ["features", "precision"], "bf16"),
        ("output.cache=/tmp/my cache", ["output", "cache"], "/tmp/my cache"),
        ("heads.mlp.hidden=[128, 64]", ["heads", 1, "hidden"], [128, 64]),
        ("heads.mlp.dropout=[0.1]", ["heads", 1, "dropout"], [0.1]),
        ("heads.1.hidden=[1]", ["heads", 1, "hidden"], [1]),
        ("heads[1].hidden=[1]", ["heads", 1, "hidden"], [1]),
        ("heads.linear={name: mlp}", ["heads", 0], {"name": "mlp"}),
        ("features.backbones.wav2vec2.weights=q", ["features", "backbones", 1, "weights"], "q"),
        ("features.backbones.v1.0.weights=q", ["features", "backbones", 2, "weights"], "q"),
        ("features.backbones.pca.weights=q", ["features", "backbones", 3, "weights"], "q"),
        ("features.backbones.vggish.weights=q", ["features", "backbones", 3, "weights"], "q"),
        ("features.backbones.mfcc.weights=Größe=3 x.pt", ["features", "backbones", 0, "weights"], "Größe=3 x.pt"),
        ("seeds.1=5", ["seeds", 1], 5),
        ("seeds=[]", ["seeds"], []),
        ("features.threads=", ["features", "threads"], None),
    ],
)
def test_changes_one_value(override, where, value):
    changed = applied(override)
    expected = copy.deepcopy(VALUES)
    here = expected
    for key in where[:-1]:
        here = here.setdefault(key, {}) if isinstance(here, dict) else here[key]
    here[where[-1]] = value
    assert changed == expected


def test_the_last_of_two_wins():
    assert applied("name=a", "name=b")["name"] == "b"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("name", ["key.path=value"]),
        ("=3", ["key.path=value"]),
        ("heads.mpl.hidden=[1]", ["'mpl'", "heads", "did you mean 'mlp'?"]),
        ("heads.xyz.hidden=[1]", ["'xyz'", "linear, mlp"]),
        ("heads.2.hidden=[1]", ["no item 2", "heads has 2"]),
        ("heads.mlp.=1", ["ends in a dot"]),
        ("features..batch_s=1", ["empty key"]),
        ("name.x=1", ["name is a single value"]),
        ("seeds=[0, 1", ["not YAML"]),
    ],
)
def test_errors_name_what_is_wrong(override, words):
    with pytest.raises(ConfigError) as caught:
        applied(override)
    message = str(caught.value)
    assert message.startswith(f"--set {override}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_name_that_two_items_share_is_refused():
    values = {"heads": [{"name": "mlp", "label": "a"}, {"name": "mlp", "label": "b"}]}
    with pytest.raises(ConfigError, match=r"'mlp' names 2 items, use one of heads\.0, heads\.1"):
        apply_overrides(values, ["heads.mlp.hidden=[1]"])
