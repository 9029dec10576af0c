"""DiffusionOPSD: which state is asked, how long the targets' steps are, and the loss by hand."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from tests.methods.world import TARGET, Quadratic, flat, in_float64, make, prompts, scored, start_averages
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=0)


def rows_of(method, policy, count=3):
    start_averages(method, policy)
    rollout = method.rollout(policy, prompts(count), NOISE)
    return flat(method.credit(rollout, scored(method, rollout)))


@pytest.mark.parametrize(("steps", "asked"), [(4, 1), (10, 3)])
def test_the_state_nearest_to_the_query_time_is_asked_and_costs_nothing(steps, asked):
    """From the end: of four steps the last but one (.334), of ten .223 and not .334."""
    policy, method = GaussianPolicy(), make("opsd", steps=steps)
    start_averages(method, policy)
    rollout = method.rollout(policy, prompts(3), NOISE)
    assert sum(rows for rows, _ in policy.calls) == 12 * steps
    grid = policy.grid(steps)
    nearest = min(grid[:-1].tolist(), key=lambda t: abs(t - 0.278))
    assert torch.equal(rollout.t, torch.full((12, 1), nearest))
    v = policy.velocity(rollout.x[:, 0], nearest, policy.encode([""] * 12))
    assert_close(rollout.v_old[:, 0], v)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_loss_contrasts_targets_up_and_down_the_scores_gradient(beta):
    policy, method = GaussianPolicy(), make("opsd", beta=beta, radius=0.2)
    rows = in_float64(policy, rows_of(method, policy))
    policy.offset.data += 0.05 * torch.randn_like(policy.offset)
    t = rows.t.reshape(-1, 1, 1, 1)
    anchor = rows.x - t * rows.v_old
    gradient = -2 * (anchor - TARGET)
    rms = [x.square().flatten(1).mean(1).sqrt().reshape(-1, 1, 1, 1) for x in (anchor, gradient)]
    step = 0.2 * rms[0] * gradient / rms[1]
    clean = rows.x - t * policy.velocity(rows.x, rows.t, rows.cond)
    branches = (
        (beta * clean + (1 - beta) * anchor, anchor + step),
        ((1 + beta) * anchor - beta * clean, anchor - step),
    )
    terms = []
    for estimate, target in branches:
        error = estimate - target
        terms.append(error.square().flatten(1).mean(1) / error.detach().abs().flatten(1).mean(1).clamp(min=1e-5))
    r = (rows.advantage / 10 + 0.5).clamp(0, 1)
    expected = 5 * (r * terms[0] + (1 - r) * terms[1]) / beta
    output = method.loss(policy, rows, Quadratic())
    assert_close(output.losses, expected)
    assert_close(output.metrics["target_step"], 0.2 * rms[0].flatten())
    (gradient,) = torch.autograd.grad(expected.sum(), policy.offset)
    output.losses.sum().backward()
    assert_close(policy.offset.grad, gradient)


def test_an_anchor_without_a_score_or_a_gradient_stays_where_it_is():
    class Half(Quadratic):
        def __call__(self, images, prompts, metadata):
            scores = super().__call__(images, prompts, metadata)
            rows = torch.arange(len(scores))
            return torch.where(rows % 3 == 0, torch.nan, torch.where(rows % 3 == 1, 0 * scores, scores))

    policy, method = GaussianPolicy(), make("opsd")
    rows = rows_of(method, policy)
    output = method.loss(policy, rows, Half())
    moved = output.metrics["target_step"] > 0
    assert moved.tolist() == [False, False, True] * 4
    output.losses.sum().backward()
    assert output.losses.isfinite().all() and policy.offset.grad.isfinite().all()


def test_it_samples_with_the_behaviour_policy():
    policy, method = GaussianPolicy(), make("opsd")
    rows = rows_of(method, policy)
    policy.offset.data += 1.0
    again = method.rollout(policy, prompts(3), NOISE)
    assert torch.equal(again.v_old[:, 0], rows.v_old)
