"""Advantages of groups."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.objectives.advantage import centred, group_advantages, moments


@pytest.mark.parametrize("std", [None, 2.5])
def test_advantages_of_a_group_sum_to_zero_and_keep_the_order(std):
    scores = 20 + torch.randn(12, dtype=torch.float64)
    groups = group_advantages(scores, 4, std).reshape(3, 4)
    assert_close(groups.sum(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    assert torch.equal(groups.argsort(1), scores.reshape(3, 4).argsort(1))


def test_the_spread_is_the_groups_own_or_the_batchs():
    scores = torch.tensor([1.0, 3.0, 0.0, 20.0], dtype=torch.float64)
    assert_close(group_advantages(scores, 2), torch.tensor([-1.0, 1.0, -1.0, 1.0]).double(), rtol=2e-4, atol=0)
    expected = torch.tensor([-1.0, 1.0, -10.0, 10.0]).double() / (4 + 1e-4)
    assert_close(group_advantages(scores, 2, std=4.0), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("score", [3.0, 123.456, 100000.3, -1e9 / 3])
@pytest.mark.parametrize("std", [None, 0.0, 2.5])
def test_equal_scores_have_no_advantage(score, std, dtype):
    """Their float32 mean is another number for most of them."""
    scores = torch.full((24,), score, dtype=dtype)
    assert torch.equal(group_advantages(scores, 24, std), torch.zeros(24, dtype=dtype))
    assert torch.equal(group_advantages(scores, 8, std), torch.zeros(24, dtype=dtype))


def test_an_offset_does_not_matter():
    """Multiples of 2^-20 plus 2^30 are float64 numbers: the differences are the same to the bit."""
    scores = (torch.randn(24, dtype=torch.float64) * 2**20).round() / 2**20
    for std in (None, 0.7):
        assert torch.equal(group_advantages(scores + 2**30, 6, std), group_advantages(scores, 6, std))


@pytest.mark.parametrize("score", [0.1, 123.456, 100000.3])
def test_moments_of_equal_scores_are_exact(score):
    assert moments(torch.full((24,), score, dtype=torch.float64)) == (score, 0.0)


def test_moments_are_mean_and_deviation():
    scores = torch.tensor([1.0, 2.0, 6.0])
    assert moments(scores) == (3.0, pytest.approx((14 / 3) ** 0.5))
    assert all(value != value for value in moments(torch.zeros(0)))
    assert_close(centred(scores), torch.tensor([-2.0, -1.0, 3.0]))
