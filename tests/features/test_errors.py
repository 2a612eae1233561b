"""The one line of a library's message that a user sees."""

import torch

from features.errors import MOST_CHARACTERS, first_line


def test_an_error_about_a_state_dict_names_the_tensor():
    try:
        torch.nn.Linear(2, 3).load_state_dict({"weight": torch.zeros(3, 2)})
    except RuntimeError as error:
        line = first_line(error)
    assert line == 'Error(s) in loading state_dict for Linear: Missing key(s) in state_dict: "bias".'


def test_the_line_is_short_and_single():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("\n  one:\n\n\ttwo\nthree")) == "one: two"
    assert len(first_line(ValueError("x" * 1000))) == MOST_CHARACTERS
