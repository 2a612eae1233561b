"""Options: lists are grids, scalars are lists of one, impossible values are refused."""

import pytest
from pydantic import ValidationError

from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.registry import HEADS, options_class


def parse(value):
    return options_class(value["name"]).model_validate(value)


def test_lists_are_the_grid_in_a_fixed_order():
    options = parse({"name": "mlp", "hidden": [128, [64, 32]], "learning_rate": [1e-3, 1e-4], "dropout": 0.5})
    assert options == MlpOptions(hidden=[128, [64, 32]], learning_rate=[1e-3, 1e-4], dropout=[0.5])
    points = [(point["hidden"], point["learning_rate"]) for point in options.configurations()]
    assert points == [(128, 1e-3), (128, 1e-4), ([64, 32], 1e-3), ([64, 32], 1e-4)]
    assert [point["l2"] for point in LinearOptions(l2=[1, 0.1]).configurations()] == [1.0, 0.1]


def test_every_head_has_defaults_that_work():
    for name in HEADS:
        options = options_class(name)
        assert options().name == name
        assert options().title == (name if name != "sklearn" else "LogisticRegression")
        assert options().configurations()
        assert options(label="other").title == "other"


def test_a_number_that_yaml_reads_as_text_is_a_number():
    assert parse({"name": "mlp", "learning_rate": "1e-3"}).learning_rate == [1e-3]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dropout", 1.5),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("hidden", 0),
        ("hidden", [[]]),
        ("hidden", [64, [32, 0]]),
        ("hidden", []),
        ("hidden", 2.5),
        ("hidden", True),
        ("learning_rate", -1),
        ("learning_rate", 0),
        ("learning_rate", float("inf")),
        ("learning_rate", []),
        ("weight_decay", -1e-3),
        ("batch_size", 0),
        ("max_epochs", 0),
        ("patience", 0),
        ("layers", "first"),
        ("layers", []),
        ("pooling", []),
        ("label", ""),
        ("widths", [3]),
        ("l2", 1.0),
    ],
)
def test_impossible_values_are_refused(option, value):
    with pytest.raises(ValidationError, match=option):
        parse({"name": "mlp", option: value})


@pytest.mark.parametrize("l2", [0, -1, [], [0.1, 0], float("nan"), True])
def test_impossible_penalties_are_refused(l2):
    with pytest.raises(ValidationError, match="l2"):
        parse({"name": "linear", "l2": l2})
