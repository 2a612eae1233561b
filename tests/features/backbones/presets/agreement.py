"""What a record and a spec have to agree on."""

import pytest


def agrees(record, spec):
    """Whether a record states what a backbone's spec says."""
    contract = record.input
    assert (record.layers, record.dim) == (len(spec.layers), spec.dim)
    assert contract.sample_rate_hz == spec.sample_rate
    assert contract.shortest_s == pytest.approx(spec.min_duration_s)
    assert contract.longest_s is None or contract.longest_s == pytest.approx(spec.max_duration_s, abs=1e-3)
