"""Ticks of logarithmic axes are round, sufficient in number, and within the range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.render.ticks import compact, log_range, log_ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 25_000, [1, 10, 100, 1000, 10_000]),
        (17, 85, [20, 30, 50, 70]),
        (0.9, 18, [1, 2, 5, 10]),
        (44, 48, [44, 45, 46, 47, 48]),
    ],
)
def test_ticks_are_round_and_enough(low, high, ticks):
    assert log_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(1e-6, 1e9), st.floats(1.05, 1e9))
def test_ticks_are_in_the_range_and_neither_few_nor_many(low, factor):
    ticks = log_ticks(low, low * factor)
    assert 2 <= len(ticks) <= 14
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)


def test_a_range_has_a_margin_and_a_single_value_has_room():
    low, high = log_range([10, 1000], margin=0.5)
    assert (low, high) == pytest.approx((1, 10_000))
    assert log_range([8.0]) == pytest.approx((4, 16))


def test_numbers_are_short():
    shown = [compact(value) for value in (0.05, 20, 1000, 20_000, 1_500_000, 9.5e7, 3e9)]
    assert shown == ["0.05", "20", "1k", "20k", "1.5M", "95M", "3G"]
