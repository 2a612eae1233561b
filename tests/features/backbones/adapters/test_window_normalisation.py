"""Each window is centred and scaled by itself, and silence stays silent."""

import numpy as np
import pytest
from pydantic import ValidationError

from features.backbones.adapters.window_normalisation import WindowOptions, normalise_windows

WINDOWS = np.array([[1.0, 2.0, 3.0, 6.0], [0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, WINDOWS),
        ({"window_mean": "remove"}, [[-2, -1, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]]),
        ({"window_peak": 0.25}, [[1 / 24, 2 / 24, 3 / 24, 0.25], [0.25] * 4, [0] * 4]),
        (
            {"window_mean": "remove", "window_peak": 0.25},
            [[-0.25 * 2 / 3, -0.25 / 3, 0, 0.25], [0, 0, 0, 0], [0, 0, 0, 0]],
        ),
        ({"window_rms": 0.1}, [np.array([1, 2, 3, 6]) * 0.1 / np.sqrt(12.5), [0.1] * 4, [0] * 4]),
        (
            {"window_mean": "remove", "window_rms": 0.1},
            [np.array([-2, -1, 0, 3]) * 0.1 / np.sqrt(3.5), [0] * 4, [0] * 4],
        ),
    ],
)
def test_windows_by_hand(options, expected):
    before = WINDOWS.copy()
    found = normalise_windows(WINDOWS, WindowOptions(**options))
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(WINDOWS, before)


def test_only_what_differs_from_the_default_is_a_setting():
    assert WindowOptions().window_settings() == {}
    options = WindowOptions(window_mean="remove", window_peak=0.25)
    assert options.window_settings() == {"window_mean": "remove", "window_peak": 0.25}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_peak": 0.25, "window_rms": 0.1}, "window_peak and window_rms scale the same window; set one of them"),
        ({"window_peak": 0}, "greater than 0"),
        ({"window_mean": "subtract"}, "'keep' or 'remove'"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        WindowOptions(**options)
