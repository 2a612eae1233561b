"""Records stored as columns are read one by one, in slices and in another order."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import records
from features.records import Records


@dataclass(frozen=True, slots=True)
class Track:
    name: str
    plays: int
    seconds: float | None
    live: bool


tracks = st.lists(
    st.builds(
        Track,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.booleans(),
    ),
    max_size=12,
)


@given(tracks, st.integers(1, 5), st.data())
def test_what_went_in_comes_out(some, chunk, data):
    records.CHUNK, before = chunk, records.CHUNK
    try:
        kept = Records.of(Track, iter(some))
        assert (len(kept), list(kept)) == (len(some), some)
        assert Records.of_pieces(Track, kept.pieces()) == kept
    finally:
        records.CHUNK = before
    assert kept[:] == some
    assert [kept[at] for at in range(-len(some), len(some))] == some + some
    cut = data.draw(st.slices(len(some)))
    assert kept[cut] == some[cut]
    order = data.draw(st.lists(st.integers(0, len(some) - 1), max_size=5)) if some else []
    assert list(kept.take(order)) == [some[at] for at in order]
    assert Records.concat(Track, [kept, kept.take(order)])[:] == some + [some[at] for at in order]


def test_a_field_of_all_records():
    kept = Records.of(Track, [Track("a", 1, None, True), Track("b", 2, 0.5, False)])
    assert kept.texts("name").to_pylist() == ["a", "b"]
    np.testing.assert_array_equal(kept.numbers("seconds"), [np.nan, 0.5])
    assert list(kept.replace(plays=[7, 8])) == [Track("a", 7, None, True), Track("b", 8, 0.5, False)]
    assert [track.plays for track in kept] == [1, 2], "the others are as they were"


def test_equal_records_are_equal():
    one, other = (Records.of(Track, [Track("a", plays, 1.0, True)]) for plays in (1, 2))
    assert one == Records.of(Track, list(one))
    assert one != other
    assert one != list(one)


def test_a_position_that_is_not_there_and_a_table_that_does_not_fit_are_refused():
    kept = Records.of(Track, [Track("a", 1, None, True)])
    with pytest.raises(IndexError):
        kept[1]
    with pytest.raises(KeyError, match="plays"):
        Records(Track, pa.table({"name": ["a"]}))
