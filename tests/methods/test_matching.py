"""NFT and AWM: fresh times, the old policy, and their losses in the papers' own form."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.methods.awm import time_weight
from fdfo.objectives.penalty import norm_excess
from tests.methods.world import flat, in_float64, make, make_engine, prompts, scored, start_averages, train
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=0)


def rows_of(method, policy, count=3):
    start_averages(method, policy)
    rollout = method.rollout(policy, prompts(count), NOISE)
    return flat(method.credit(rollout, scored(method, rollout)))


def test_times_are_fresh_one_in_each_part_of_the_density():
    policy = GaussianPolicy()
    for density, grid in (("uniform", torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])), ("sampler", policy.grid(5)[:-1])):
        method = make("awm", time_density=density, steps=5, trained_times=4)
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
    engine = make_engine(method, policy)
    old = policy.offset.detach().clone()
    for epoch, decay in enumerate((0.0, 0.3, 0.5, 0.5)):
        train(engine, epochs=1, first=epoch)
        old = decay * old + (1 - decay) * policy.offset.detach()
        (kept,) = policy.weights.snapshots["old"].values()
        assert_close(kept, old)


@pytest.mark.parametrize(("first", "last", "times"), [(0, 1, 9), (1, 2, 7), (1, 2, 3), (0, 0, 4)])
def test_times_of_the_grid_are_its_own_one_in_each_part_equally_often(first, last, times):
    policy = GaussianPolicy()
    settings = {"skipped_first": first, "skipped_last": last, "trained_times": times}
    method = make("nft", steps=10, **settings)
    start_averages(method, policy)
    rollout = method.rollout(policy, prompts(250), NOISE)
    own = policy.grid(10)[first : 10 - last]
    place = (rollout.t[:, :, None] == own).float()  # [B, K, n]
    assert (place.sum(2) == 1).all() and (rollout.t.diff(dim=1) <= 0).all()
    assert_close(place.sum(1).mean(0), torch.full((len(own),), times / len(own)), rtol=0, atol=0.07)
    if times == len(own):
        assert torch.equal(rollout.t, own.expand(len(rollout.t), -1))


def test_awms_released_ratio_is_that_of_the_roots_of_the_errors():
    """log p = -(t / p) ((e + 1e-10)^p - 1e-20^(p / 2)) with p = 1/4, and advantages of at most 1."""
    method, policy = make("awm", on_policy=False, kl_weight=0.0, average_weight=0.0, clip_range=0.05), GaussianPolicy()
    rows = in_float64(policy, rows_of(method, policy))
    policy.offset.data += 0.05
    v = policy.velocity(rows.x, rows.t, rows.cond)

    def log_likelihood(v):
        return -4 * rows.t * ((v - (rows.eps - rows.x0)).square().flatten(1).mean(1) + 1e-10) ** 0.25

    ratio = (log_likelihood(v) - log_likelihood(rows.v_old)).exp()
    advantage = rows.advantage / 5
    expected = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.95, 1.05))
    assert_close(method.loss(policy, rows, None).losses, expected)


def test_awm_on_policy_is_awm_with_the_old_policy_evaluated():
    gradients = []
    for on_policy in (True, False):
        method, policy = make("awm", on_policy=on_policy), GaussianPolicy()
        rows = rows_of(method, policy)
        method.loss(policy, rows, None).losses.sum().backward()
        gradients.append(policy.offset.grad)
        assert sum(n for n, _ in policy.calls) == 12 * (6 + 3 * (not on_policy)) + 3 * 36  # base, average and itself
    assert_close(*gradients)


def test_awm_is_held_near_its_own_average():
    method, policy = make("awm", average_weight=2.0), GaussianPolicy()
    rows = rows_of(method, policy)
    policy.offset.data += 0.5
    added = method.loss(policy, rows, None).losses - make("awm", average_weight=0.0).loss(policy, rows, None).losses
    assert_close(added, torch.full_like(added, 2 * 0.25))
    decays = [method.averages["average"](epoch) for epoch in (0, 9, 298, 299, 5000)]
    assert decays == pytest.approx([0.001, 0.01, 0.299, 0.3, 0.3])


def test_the_norm_guard_is_the_excess_of_the_rms():
    """A velocity of twice the base's length, and one of half of it."""
    base = torch.randn(5, 2, 3, dtype=torch.float64)
    rms = base.square().flatten(1).mean(1).sqrt()
    assert_close(norm_excess(2 * base, base), rms)
    v = (base / 2).requires_grad_()
    excess = norm_excess(v, base)
    assert torch.equal(excess, torch.zeros(5, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(excess.sum(), v)
    assert torch.equal(gradient, torch.zeros_like(v))
    policy, plain = GaussianPolicy(), make("nft")
    rows = rows_of(plain, policy)
    start_averages(guarded := make("nft", norm_weight=3.0), policy)
    policy.offset.data[0, 0] = torch.tensor([0.7, -0.7])
    v = policy.velocity(rows.x, rows.t, rows.cond)
    v_base = v - policy.offset
    difference = v.square().flatten(1).mean(1).sqrt() - v_base.square().flatten(1).mean(1).sqrt()
    added = guarded.loss(policy, rows, None).losses - plain.loss(policy, rows, None).losses
    assert (difference > 0).any() and (difference < 0).any()
    assert_close(added, 3 * difference.clamp(min=0), rtol=1e-4, atol=1e-5)


def test_awms_ratio_is_that_of_the_matching_losses():
    settings = {"clip_range": 0.9, "advantage_max": 5.0, "on_policy": False, "kl_weight": 0.0, "average_weight": 0.0}
    method, policy = make("awm", weighting="bound", **settings), GaussianPolicy()
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
