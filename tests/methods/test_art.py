"""DiffusionART: its vector and loss in closed form, and the way from FDFO to it, one change at a time."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.transition import transition
from fdfo.methods.art import ART, win_shares
from fdfo.methods.fdfo import FDFO
from fdfo.methods.settings.art import ArtConfig
from fdfo.methods.settings.fdfo import FdfoConfig
from fdfo.objectives.difference import covariance_vector
from fdfo.objectives.regression import goes_on, stepped_target, weighted_error
from tests.methods.world import flat, make, prompts, scored
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=0)


def test_the_vector_is_the_covariance_of_scores_and_endpoints_of_unit_rms():
    torch.manual_seed(0)
    x0, scores = torch.randn(12, 2, 3, dtype=torch.float64), torch.randn(12, dtype=torch.float64)
    vector = covariance_vector(x0, scores, 4)
    for group in range(3):
        rows = slice(4 * group, 4 * group + 4)
        both = torch.cat([x0[rows].flatten(1).T, scores[rows][None]])
        covariance = torch.cov(both)[-1, :-1]  # divided by K - 1
        covariance /= (scores[rows] - scores[rows].mean()).abs().mean()
        expected = covariance / covariance.square().mean().sqrt()
        assert_close(vector[rows].flatten(1), expected.expand(4, -1))
    assert_close(covariance_vector(x0, 1000 * scores + 7, 4), vector)
    assert torch.equal(covariance_vector(x0, scores * 0 + 123.456, 4), torch.zeros_like(x0))


def test_a_vector_that_is_too_short_is_not_blown_up():
    x0 = torch.tensor([[1e-7, 0.0], [-1e-7, 0.0]], dtype=torch.float64)
    vector = covariance_vector(x0, torch.tensor([1.0, -1.0], dtype=torch.float64), 2)
    assert_close(vector, torch.tensor([[2e-7 / 1e-5, 0.0]] * 2, dtype=torch.float64))


def test_the_target_moves_the_clean_estimate_along_the_vector():
    x, v, vector = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    t = torch.tensor([1.0, 0.8, 0.5, 0.1, 0.01], dtype=torch.float64)
    column = t.reshape(-1, 1, 1)
    moved = (x - column * stepped_target(v, vector, t, 0.3)) - (x - column * v)
    assert_close(moved, 0.3 * vector)
    errors = {name: weighted_error(v, v + vector, t, name) for name in ("velocity", "linear", "clean")}
    plain = vector.square().flatten(1).mean(1)
    assert_close(errors, {"velocity": plain, "linear": t * plain, "clean": t**2 * plain})


def rows_of(method, policy, count=3):
    rollout = method.rollout(policy, prompts(count), NOISE)
    return flat(method.credit(rollout, scored(method, rollout)))


def test_at_the_recorded_velocity_every_time_is_pulled_alike():
    """The linear weight leaves a gradient of 2 m G / D at all times: FDFO's, without the size of the difference."""
    method, policy = make("art", move=0.2), GaussianPolicy()
    rows = rows_of(method, policy)
    v = rows.v_old.clone().requires_grad_()
    target = stepped_target(rows.v_old, rows.vector, rows.t, 0.2)
    (gradient,) = torch.autograd.grad(weighted_error(v, target, rows.t, "linear").sum(), v)
    assert_close(gradient, 2 * 0.2 * rows.vector / v[0].numel(), rtol=1e-4, atol=1e-6)
    assert_close(method.loss(policy, rows, None).losses, weighted_error(rows.v_old, target, rows.t, "linear"))


def test_rows_that_moved_too_far_are_left_out_unless_they_come_back():
    """The divergence of the transitions of the SDE of level .8, by hand; half of the rows went the wrong way."""
    policy, method = GaussianPolicy(), make("art", movement_limit=None)
    rows = rows_of(method, policy, count=6)
    policy.offset.data += 0.02 * torch.randn_like(policy.offset)
    v = policy.velocity(rows.x, rows.t, rows.cond).detach()
    second = float(policy.grid(4)[1])
    (old, std), (new, _) = (transition("sde", rows.x, u, rows.t, rows.s, second, 0.8) for u in (rows.v_old, v))
    divergence = (new - old).square().flatten(1).mean(1) / (2 * std.flatten().square())
    whole = method.loss(policy, rows, None)
    assert_close(whole.metrics["ratio_change"], divergence, rtol=1e-3, atol=1e-7)
    limit = 0.9 * divergence.max().item()  # it differs by time alone
    far = divergence > limit
    target = rows.v_old - 0.1 / rows.t.reshape(-1, 1, 1, 1) * rows.vector
    away = ((v - rows.v_old) * (target - v)).flatten(1).sum(1) > 0
    assert torch.equal(goes_on(v, rows.v_old, target), away)
    assert (far & away).any() and (far & ~away).any() and (~far & away).any()
    output = make("art", movement_limit=limit).loss(policy, rows, None)
    assert torch.equal(output.losses, whole.losses.where(~(far & away), 0.0))
    assert torch.equal(output.metrics["clip_fraction"], far.float())


def test_wins_are_shares_of_the_others_that_a_sample_beats():
    scores = torch.tensor([3.0, 1.0, 2.0, 2.0, 5.0, 5.0, 5.0, 5.0], dtype=torch.float64)
    assert win_shares(scores, 4).tolist() == [1.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert win_shares(torch.tensor([2.0, 7.0]), 2).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("size", [2, 5])
def test_fdfo_with_arts_start_weight_and_objective_is_art(size):
    """Rollouts, losses away from the recorded velocity, and gradients; windows are optim.updates_per_epoch for both."""
    shared = {"steps": 5, "move": 0.15, "movement_limit": 1e-3}
    art = ART(ArtConfig(group_size=size, **shared))
    change = {"start": "independent", "strength": 0.0, "weight": "unit", "objective": "regression"}
    fdfo = FDFO(FdfoConfig(branches=size, **change, **shared))
    found = []
    for method in (art, fdfo):
        policy = GaussianPolicy()
        rows = rows_of(method, policy)
        policy.offset.data += 0.03
        output = method.loss(policy, rows, None)
        output.losses.sum().backward()
        found.append((rows.x, rows.t, output.losses.detach(), output.metrics["clip_fraction"], policy.offset.grad))
    assert method.sampling_evaluations(3) == art.sampling_evaluations(3)
    assert 0 < found[0][3].mean() < 1
    for own, other in zip(*found, strict=True):
        assert_close(own, other, rtol=1e-4, atol=1e-6)
