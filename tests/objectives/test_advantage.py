"""Advantages of groups."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.objectives.advantage import group_advantages


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


def test_equal_scores_have_no_advantage():
    assert torch.equal(group_advantages(torch.full((6,), 3.0), 3), torch.zeros(6))
