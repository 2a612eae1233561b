"""Order and seeds of end-to-end training: functions of (seed, epoch, step)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heads.finetuning.options import Recipe
from heads.finetuning.rng import DROPOUT, NOISE, Step, epoch_batches, n_batches


@given(n_clips=st.integers(1, 200), batch_size=st.integers(1, 50), epoch=st.integers(0, 5))
def test_an_epoch_is_every_clip_once_in_even_batches(n_clips, batch_size, epoch):
    batches = epoch_batches(n_clips, batch_size, 7, epoch)
    assert sorted(np.concatenate(batches)) == list(range(n_clips))
    sizes = [len(batch) for batch in batches]
    assert len(sizes) == n_batches(n_clips, batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_order_differs_between_epochs_and_seeds_and_repeats():
    orders = {
        (seed, epoch): tuple(np.concatenate(epoch_batches(50, 8, seed, epoch))) for seed in (0, 1) for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    assert orders[1, 1] == tuple(np.concatenate(epoch_batches(50, 8, 1, 1)))


def test_every_step_and_purpose_has_its_own_seed():
    steps = [Step(*key) for key in np.ndindex(2, 3, 4, 2)]
    seeds = {step.torch_seed(purpose) for step in steps for purpose in (DROPOUT, NOISE)}
    assert len(seeds) == 2 * len(steps)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len({step.generator().random() for step in steps}) == len(steps)


def test_learning_rates_warm_up_then_step_or_fall():
    published = Recipe(name="x", epochs=30, warmup_epochs=5, schedule="step", step_epochs=10, gamma=0.1)
    factors = [published.learning_rate_factor(epoch) for epoch in range(30)]
    assert np.allclose(factors[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert np.allclose(factors[5:], [1.0] * 10 + [0.1] * 10 + [0.01] * 5)
    cosine = Recipe(name="x", epochs=10, schedule="cosine")
    falling = [cosine.learning_rate_factor(epoch) for epoch in range(10)]
    assert falling[0] == 1.0
    assert (np.diff(falling) < 0).all()
    assert falling[-1] > 0
    assert Recipe(name="x").learning_rate_factor(7) == 1.0
