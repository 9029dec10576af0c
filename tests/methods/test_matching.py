"""NFT and AWM: fresh times, the old policy, and their losses in the papers' own form."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.methods.awm import time_weight
from tests.methods.world import flat, in_float64, make, make_trainer, prompts, scored, start_averages, train
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=0)


def rows_of(method, policy, count=3):
    start_averages(method, policy)
    rollout = method.rollout(policy, prompts(count), NOISE)
    return flat(method.credit(rollout, scored(method, rollout)))


def test_times_are_fresh_one_in_each_part_of_the_density():
    policy = GaussianPolicy()
    for density, grid in (("uniform", torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])), ("sampler", policy.grid(5)[:-1])):
        method = make("awm", time_density=density, steps=5)
        rollout = method.rollout(policy, prompts(20), NOISE)
        assert (rollout.t <= grid[:-1]).all() and (rollout.t >= grid[1:]).all()
        place = (grid[:-1] - rollout.t) / (grid[:-1] - grid[1:])  # in each part, uniform and independent of the others
        assert_close(place.mean(0), torch.full((4,), 0.5), rtol=0, atol=4 * (1 / 12 / len(place)) ** 0.5)
        assert (torch.corrcoef(place.T) - torch.eye(4)).abs().max() < 4 / len(place) ** 0.5
    eps = rollout.eps.flatten()
    assert float(eps.square().mean()) == pytest.approx(1, abs=4 * (2 / eps.numel()) ** 0.5)


def papers_nft_loss(rows, v, beta, divisors=None):
    """DiffusionNFT in x0 form; the divisors may be given as constants."""
    t = rows.t.reshape(-1, 1, 1, 1)
    x = (1 - t) * rows.x0 + t * rows.eps
    mixed = (beta * v + (1 - beta) * rows.v_old, (1 + beta) * rows.v_old - beta * v)
    errors = [x - t * velocity - rows.x0 for velocity in mixed]
    divisors = divisors or [error.detach().abs().flatten(1).mean(1).clamp(min=1e-5) for error in errors]
    terms = [error.square().flatten(1).mean(1) / w for error, w in zip(errors, divisors, strict=True)]
    r = (rows.advantage / 10 + 0.5).clamp(0, 1)
    return 5 * (r * terms[0] + (1 - r) * terms[1]) / beta, divisors


@pytest.mark.parametrize("beta", [1.0, 0.1])
def test_nfts_loss_is_the_papers_and_its_gradient_that_of_finite_differences(beta):
    policy = GaussianPolicy()
    method = make("nft", beta=beta, kl_weight=0.0)
    rows = in_float64(policy, rows_of(method, policy))
    policy.offset.data += 0.05 * torch.randn_like(policy.offset)
    losses = method.loss(policy, rows, None).losses
    expected, divisors = papers_nft_loss(rows, policy.velocity(rows.x, rows.t, rows.cond), beta)
    assert_close(losses, expected)
    losses.sum().backward()
    values = []
    for step in (1e-6, -1e-6):
        policy.offset.data[0, 1, 0] += step
        v = policy.velocity(rows.x, rows.t, rows.cond)
        values.append(papers_nft_loss(rows, v, beta, divisors)[0].sum().item())
        policy.offset.data[0, 1, 0] -= step
    assert policy.offset.grad[0, 1, 0].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_nft_at_the_old_policy_does_not_depend_on_the_scores():
    method, policy = make("nft", kl_weight=0.0), GaussianPolicy()
    rows = rows_of(method, policy)
    error = (rows.v_old - (rows.eps - rows.x0)).flatten(1) * rows.t[:, None]
    expected = 5 * error.square().mean(1) / error.abs().mean(1)
    assert rows.advantage.std() > 0.1
    assert_close(method.loss(policy, rows, None).losses, expected)


def test_nft_samples_and_compares_with_the_old_policy():
    method, policy = make("nft"), GaussianPolicy()
    rows = rows_of(method, policy)
    policy.offset.data += 1.0
    again = method.rollout(policy, prompts(3), NOISE)
    assert torch.equal(again.v_old.flatten(0, 1), rows.v_old)
    assert float(method.loss(policy, rows, None).metrics["velocity_change"].min()) == pytest.approx(1, rel=1e-5)


def test_the_old_policy_follows_with_its_growing_decay():
    policy = GaussianPolicy()
    method = make("nft", old_decay_rate=0.3, old_decay_limit=0.5)
    trainer = make_trainer(method, policy)
    old = policy.offset.detach().clone()
    for epoch, decay in enumerate((0.0, 0.3, 0.5, 0.5)):
        train(trainer, epochs=1, first=epoch)
        old = decay * old + (1 - decay) * policy.offset.detach()
        (kept,) = policy.weights.snapshots["old"].values()
        assert_close(kept, old)


def test_awms_ratio_is_that_of_the_matching_losses():
    method, policy = make("awm", weighting="bound", clip_range=0.9), GaussianPolicy()
    rows = in_float64(policy, rows_of(method, policy))
    policy.offset.data += 0.05
    target = rows.eps - rows.x0

    def log_likelihood(v):
        return -(1 - rows.t) / rows.t * (v - target).square().flatten(1).mean(1)

    v = policy.velocity(rows.x, rows.t, rows.cond)
    ratio = (log_likelihood(v) - log_likelihood(rows.v_old)).exp()
    expected = torch.maximum(-rows.advantage * ratio, -rows.advantage * ratio.clamp(0.1, 1.9))
    assert_close(method.loss(policy, rows, None).losses, expected)


def test_weightings_measure_what_they_are_named_after():
    """Mean square errors of the velocity, of x0_hat = x - t v and of eps_hat = x + (1 - t) v; and the bound's weight,
    half the noise error times the fall of the log signal-to-noise ratio 2 log((1 - t) / t) per time."""
    x0, eps, v = torch.randn(3, 7, 5, dtype=torch.float64)
    t = torch.rand(7, dtype=torch.float64) * 0.8 + 0.1
    column = t[:, None]
    x = (1 - column) * x0 + column * eps
    velocity = (v - (eps - x0)).square().mean(1)
    noise = (x + (1 - column) * v - eps).square().mean(1)
    assert_close(time_weight("velocity", t) * velocity, velocity)
    assert_close(time_weight("clean", t) * velocity, (x - column * v - x0).square().mean(1))
    assert_close(time_weight("noise", t) * velocity, noise)
    t.requires_grad_()
    (fall,) = torch.autograd.grad(-2 * ((1 - t) / t).log().sum(), t)
    assert_close((time_weight("bound", t) * velocity).detach(), noise * fall / 2)
