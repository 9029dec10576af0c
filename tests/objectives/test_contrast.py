"""DiffusionNFT's loss at the old policy and around it."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.objectives.contrast import negative_aware

SHAPE = (4, 2, 3, 3)


@pytest.mark.parametrize("beta", [1.0, 0.1])
def test_at_the_old_policy_the_loss_is_the_matching_loss_and_optimality_sets_the_direction(beta):
    """loss = m2 / (m1 beta) whatever r, and d loss / d clean = 2 (2 r - 1) error / (D m1), error = clean - x0."""
    old, x0 = torch.randn(2, *SHAPE, dtype=torch.float64)
    r = torch.tensor([0.0, 0.5, 0.8, 1.0], dtype=torch.float64)
    clean = old.clone().requires_grad_()
    losses = negative_aware(clean, old, x0, r, beta)
    error = old - x0
    size = error.abs().flatten(1).mean(1)
    assert_close(losses.detach(), error.square().flatten(1).mean(1) / size / beta)
    (gradient,) = torch.autograd.grad(losses.sum(), clean)
    factor = (2 * (2 * r - 1) / size / error[0].numel()).reshape(-1, 1, 1, 1)
    assert_close(gradient, factor * error)


def test_a_perfect_sample_is_matched_and_the_divisor_has_a_floor():
    x0 = torch.randn(SHAPE, dtype=torch.float64)
    losses = negative_aware(x0, x0, x0, torch.full((4,), 0.7).double(), 1.0)
    assert torch.equal(losses, torch.zeros(4, dtype=torch.float64))


def test_beta_one_matches_the_new_policy_for_good_samples_and_its_mirror_for_bad_ones():
    clean, old, x0 = torch.randn(3, *SHAPE, dtype=torch.float64)

    def matching(estimate):
        error = (estimate - x0).flatten(1)
        return error.square().mean(1) / error.abs().mean(1)

    one, zero = torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    assert_close(negative_aware(clean, old, x0, one, 1.0), matching(clean))
    assert_close(negative_aware(clean, old, x0, zero, 1.0), matching(2 * old - clean))
