"""Averaged weights: debiased from the first update on, the same after an interruption."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.training.epoch import debiased
from tests.methods.world import make, make_engine, train
from tests.worlds import GaussianPolicy


def test_the_decay_grows_to_the_given_one():
    assert [debiased(0.9, n) for n in (0, 1, 8)] == [0.1, 2 / 11, 0.5]
    assert debiased(0.9, 79) == pytest.approx(80 / 89) and debiased(0.9, 80) == 0.9  # 81 / 90
    assert debiased(0.05, 0) == 0.05


@pytest.mark.parametrize("updates", [1, 2])
def test_the_average_of_a_short_run_is_not_the_base(updates):
    """Against the recursion over the weights after each step; a decay of .99 alone would leave 97 % base weights."""
    policy = GaussianPolicy()
    engine = make_engine(make("fdfo"), policy, updates=updates, ema=0.99)
    steps = []
    step = engine.optimizer.step
    engine.optimizer.step = lambda *args: (step(*args), steps.append(policy.offset.detach().clone()))
    expected = torch.zeros_like(policy.offset)
    for epoch in range(3):
        train(engine, 1, first=epoch)
    for n, weights in enumerate(steps):
        decay = (1 + n) / (10 + n)
        expected = decay * expected + (1 - decay) * weights
    assert len(steps) == 3 * updates
    (average,) = engine.ema.values()
    assert_close(average, expected)
    assert average.norm() > 0.9 * policy.offset.norm()
