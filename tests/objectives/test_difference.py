"""Finite differences: symmetries, limits and the gradient they estimate."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.objectives.difference import (
    gradient_differences,
    group_differences,
    mean_square,
    normalized_direction,
    pair_differences,
    scale_by,
)

SHAPE = (2, 3, 3)


def pairs(count=5):
    return torch.randn(2 * count, *SHAPE, dtype=torch.float64), torch.randn(2 * count, dtype=torch.float64)


def update_vector(x0, scores):
    gap, slope = pair_differences(x0, scores)
    return scale_by(normalized_direction(gap), slope)


def test_half_differences_of_interleaved_pairs():
    x0 = torch.tensor([3.0, 1.0, 10.0, 20.0]).reshape(4, 1, 1, 1)
    gap, slope = pair_differences(x0, torch.tensor([5.0, 1.0, 0.0, 8.0]))
    assert_close(gap.flatten(), torch.tensor([1.0, -5.0]))
    assert_close(slope, torch.tensor([2.0, -4.0]))


def test_direction_is_the_gap_over_its_mean_square():
    gap = torch.full((1, 2, 2, 2), 0.5, dtype=torch.float64)
    assert_close(normalized_direction(gap, eps=0.0), torch.full_like(gap, 0.5 / 0.25))
    assert_close(normalized_direction(gap), gap / (0.25 + 1e-6))


def test_swapping_branches_changes_nothing():
    x0, scores = pairs()
    swapped = torch.arange(10).reshape(-1, 2).flip(1).flatten()
    assert_close(update_vector(x0[swapped], scores[swapped]), update_vector(x0, scores))


def test_adding_a_constant_to_the_scores_changes_nothing():
    x0, scores = pairs()
    assert_close(update_vector(x0, scores + 100.0), update_vector(x0, scores), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("branches", [2, 4])
def test_a_large_offset_of_float64_scores_changes_nothing(branches):
    """Multiples of 2^-20 plus 2^30 are float64 numbers; the endpoints may be float32."""
    x0 = torch.randn(12, *SHAPE)
    scores = (torch.randn(12, dtype=torch.float64) * 2**20).round() / 2**20
    directions, slopes = zip(*(group_differences(x0, scores + c, branches) for c in (0, 2**30)), strict=True)
    assert torch.equal(*directions) and directions[0].dtype == torch.float32
    assert torch.equal(*slopes) and slopes[0].dtype == torch.float64
    halves = [pair_differences(x0, scores + c)[1] for c in (0, 2**30)]
    assert torch.equal(*halves) and halves[0].dtype == torch.float64


@pytest.mark.parametrize("score", [123.456, 100000.3])
def test_equal_scores_have_no_slope(score):
    x0 = torch.randn(24, *SHAPE)
    for dtype in (torch.float32, torch.float64):
        scores = torch.full((24,), score, dtype=dtype)
        for branches in (2, 3, 24):
            assert not group_differences(x0, scores, branches)[1].any()
        assert not pair_differences(x0, scores)[1].any()


def test_identical_branches_give_zero_and_no_nan():
    x0 = torch.randn(3, *SHAPE).repeat_interleave(2, 0)
    scores = torch.randn(3).repeat_interleave(2)
    assert torch.equal(update_vector(x0, scores), torch.zeros(3, *SHAPE))
    for branches in (2, 3):
        same = torch.randn(1, *SHAPE).expand(branches, *SHAPE)
        direction, slope = group_differences(same, torch.ones(branches), branches)
        assert direction.isfinite().all()
        assert torch.equal(scale_by(direction, slope), torch.zeros(branches, *SHAPE))


def test_two_branches_of_the_group_formula_are_the_pair():
    x0, scores = pairs()
    direction, slope = group_differences(x0, scores, branches=2)
    gap, half = pair_differences(x0, scores)
    assert_close(direction[0::2], normalized_direction(gap))
    assert_close(direction[1::2], -normalized_direction(gap))
    assert_close(slope, torch.stack([half, -half], 1).flatten())


@pytest.mark.parametrize("branches", [2, 3, 4, 8])
def test_group_vector_is_the_sum_over_all_pairs(branches):
    """sum_ij (R_i - R_j)(x_i - x_j) = 2 N sum_i (R_i - R_mean)(x_i - x_mean), computed here pair by pair."""
    x0 = torch.randn(branches, *SHAPE, dtype=torch.float64)
    scores = torch.randn(branches, dtype=torch.float64)
    direction, slope = group_differences(x0, scores, branches, eps=0.0)
    everything = sum((scores[i] - scores[j]) * (x0[i] - x0[j]) for i in range(branches) for j in range(branches))
    lengths = sum(mean_square((x0[i] - x0[j])[None]) for i in range(branches) for j in range(branches))
    vectors = scale_by(direction, slope)
    for vector in vectors:  # one and the same for every branch
        assert_close(vector, everything / lengths)


@pytest.mark.parametrize("branches", [2, 4])
def test_mean_vector_of_a_quadratic_score_is_its_gradient(branches):
    """Isotropic gaps: E[gap gap^T / mean(gap^2)] = I, so the vectors average to grad R at the centre.

    R = -|x - target|^2 with branches at x + small noise. Standard error of the mean about |grad R| sqrt(D / n) = 1 %.
    """
    torch.manual_seed(0)
    x, target = torch.randn(2, 1, 1, 2, 2, dtype=torch.float64)
    count = 40_000
    x0 = x + 1e-3 * torch.randn(branches * count, 1, 2, 2, dtype=torch.float64)
    scores = -(x0 - target).square().flatten(1).sum(1)
    direction, slope = group_differences(x0, scores, branches, eps=0.0)
    mean = scale_by(direction, slope).mean(0)
    gradient = -2 * (x - target)[0]
    assert float((mean - gradient).norm() / gradient.norm()) < 0.04


def test_gradient_differences_follow_the_gradient_at_the_length_of_the_gap():
    x0, _ = pairs(1)
    gradient = torch.randn(2, *SHAPE, dtype=torch.float64)
    direction, slope = gradient_differences(x0, gradient, branches=2, eps=0.0)
    gap, _ = pair_differences(x0, torch.zeros(2))
    rho = mean_square(gap).sqrt()
    assert_close(mean_square(direction).sqrt(), (1 / rho).expand(2))
    assert_close(slope, rho * gradient.flatten(1).norm(dim=1))
    vector = scale_by(direction, slope).flatten(1)
    assert_close(torch.cosine_similarity(vector, gradient.flatten(1)), torch.ones(2, dtype=torch.float64))


def test_zero_score_gradient_gives_zero_and_no_nan():
    x0, _ = pairs(1)
    direction, slope = gradient_differences(x0, torch.zeros_like(x0), branches=2)
    assert torch.equal(scale_by(direction, slope), torch.zeros_like(x0))
