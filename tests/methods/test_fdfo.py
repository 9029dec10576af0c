"""The method on a linear flow with a quadratic score, where everything is known."""

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.perturb import overshoot_time, perturbed_step
from fdfo.flow.solve import MeanVelocity, integrate
from fdfo.flow.strength import interval_density
from fdfo.methods.branches import _schedule
from fdfo.methods.fdfo import FDFO
from fdfo.methods.settings.fdfo import FdfoConfig
from fdfo.objectives.difference import scale_by
from fdfo.records import Prompt, Scores
from tests.worlds import GaussianPolicy

TARGET = 1.0
NOISE = NoiseStreams(seed=0, epoch=0)


def prompts(count, first=0):
    return [Prompt(text=f"prompt {i}", number=first + i) for i in range(count)]


def quadratic(x0):
    return -(x0 - TARGET).square().flatten(1).sum(1)


def scored(rollout, total=None, gradient=None):
    total = quadratic(rollout.x0) if total is None else total
    return Scores(total=total, components={}, batch=total, gradient=gradient)


def run(count=3, policy=None, first=0, **settings):
    strength = settings.pop("strength", 0.01)  # zero is refused for a shared start, but has a meaning
    config = FdfoConfig(**{"steps": 6, **settings}).model_copy(update={"strength": strength})
    method = FDFO(config)
    policy = policy or GaussianPolicy()
    return method, policy, method.rollout(policy, prompts(count, first), NOISE)


def losses(method, policy, items):
    flat = items.rows(*all_rows(items))
    return method.loss(policy, flat, None).losses


def all_rows(items):
    samples, times = torch.meshgrid(torch.arange(items.num_samples), torch.arange(items.num_times), indexing="ij")
    return samples.flatten(), times.flatten()


def test_zero_strength_gives_identical_branches_zero_gap_zero_gradient():
    method, policy, rollout = run(strength=0.0)
    assert torch.equal(rollout.x0[0::2], rollout.x0[1::2])
    items = method.credit(rollout, scored(rollout, torch.randn(6)))
    assert torch.count_nonzero(items.direction) == 0
    losses(method, policy, items).sum().backward()
    assert torch.equal(policy.offset.grad, torch.zeros_like(policy.offset))


def test_endpoint_of_an_unperturbed_rollout_is_the_euler_solution():
    _, policy, rollout = run(count=2, strength=0.0)
    z = NOISE.normal(policy.latent_shape, "start", [0, 1])
    cond = policy.encode(["", ""])
    x0 = integrate(lambda x, t: policy.velocity(x, t, cond), z, policy.grid(6).tolist())
    assert_close(rollout.x0[0::2], x0)


def test_recorded_velocities_belong_to_the_recorded_states():
    for settings in ({}, {"trained_times": 2}, {"shared_steps": 3}, {"solver": "heun"}):
        _, policy, rollout = run(**settings)
        cond = policy.encode([""] * rollout.t.numel())
        v = policy.velocity(rollout.x.flatten(0, 1), rollout.t.flatten(), cond)
        assert_close(v, rollout.v.flatten(0, 1))


def test_both_branches_get_the_same_vector():
    for branches in (2, 4):
        method, _, rollout = run(branches=branches)
        items = method.credit(rollout, scored(rollout))
        vectors = scale_by(items.direction[:, 0], items.slope[:, 0]).reshape(3, branches, -1)
        assert_close(vectors, vectors[:, :1].expand_as(vectors))


def test_loss_gradient_is_the_closed_form_at_unchanged_weights():
    """d loss / d offset = 2 slope direction / D summed over the rows, for every row alike."""
    method, policy, rollout = run()
    items = method.credit(rollout, scored(rollout))
    losses(method, policy, items).sum().backward()
    vectors = scale_by(items.direction[:, 0], items.slope[:, 0]).sum(0) * items.num_times
    assert_close(policy.offset.grad, 2 * vectors / policy.offset.numel(), rtol=1e-4, atol=1e-6)


def in_float64(policy, items):
    policy.offset.data = policy.offset.data.double()
    return items._map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def test_loss_gradient_equals_finite_differences():
    method, policy, rollout = run(kl_weight=0.1)
    items = in_float64(policy, method.credit(rollout, scored(rollout)))
    policy.offset.data += 1e-3 * torch.randn_like(policy.offset)
    losses(method, policy, items).sum().backward()
    with torch.no_grad():
        for index in [(0, 0, 0), (0, 1, 1)]:
            values = []
            for step in (1e-6, -1e-6):
                policy.offset[index] += step
                values.append(float(losses(method, policy, items).sum()))
                policy.offset[index] -= step
            assert policy.offset.grad[index].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_following_the_loss_raises_the_score_and_converges_to_the_gradient():
    """Mean of slope x direction over many pairs of one start against the true gradient at the midpoint."""

    def cosine(count, strength):
        method, _, rollout = run(count=count, strength=strength, steps=4)
        items = method.credit(rollout, scored(rollout))
        estimate = scale_by(items.direction[:, 0], items.slope[:, 0])[0::2]  # one vector a pair
        middle = (rollout.x0[0::2] + rollout.x0[1::2]) / 2
        gradient = -2 * (middle - TARGET)
        # project out the start: compare vectors averaged over pairs, weighted as the update does
        return float(torch.cosine_similarity(estimate.sum(0).flatten(), gradient.sum(0).flatten(), dim=0))

    assert cosine(16, 0.0025) > 0
    assert cosine(4096, 0.0025) > 0.995


def test_steps_along_the_loss_raise_the_score():
    """Twenty epochs of gradient descent on the offset, judged on start noises that are never trained on."""
    policy = GaussianPolicy()
    held_out = NoiseStreams(seed=1, epoch=0)
    method = FDFO(FdfoConfig(steps=6, strength=0.01))

    def mean_score():
        return float(quadratic(method.rollout(policy, prompts(64), held_out).x0).mean())

    before = mean_score()
    optimizer = torch.optim.SGD([policy.offset], lr=0.02)
    for epoch in range(20):
        rollout = method.rollout(policy, prompts(16), NoiseStreams(seed=0, epoch=epoch))
        items = method.credit(rollout, scored(rollout))
        optimizer.zero_grad()
        losses(method, policy, items).mean().backward()
        optimizer.step()
    best = float(quadratic(torch.full((64, 1, 2, 2), TARGET) + 0.5 * torch.randn(64, 1, 2, 2)).mean())
    assert mean_score() > before + 0.3 * (best - before)


@torch.no_grad()
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("multistep", 2)])
def test_perturbed_solvers_keep_their_order(solver, order):
    """Spread of the endpoints of Gaussian data, propagated without sampling error: the flow is linear in all noises.

    The strength falls with the step, through .0025 at 40 steps: each step adds a fixed share of its length.
    """

    def spread_error(steps):
        policy = GaussianPolicy(shape=(1, 1, 1))
        grid = torch.linspace(0.98, 0.02, steps + 1, dtype=torch.float64).tolist()
        variance = _endpoint_variance(policy, grid, solver, g=0.1 / steps)
        exact = (1 - 0.02) ** 2 * policy.std**2 + 0.02**2
        return abs(variance**0.5 - exact**0.5)

    coarse, fine = spread_error(40), spread_error(160)
    assert math.log(coarse / fine, 4) == pytest.approx(order, abs=0.15)


def _endpoint_variance(policy, grid, solver, g):
    """Variance at the end: the sum of squared responses to the start and to the noise of every step."""
    count = len(grid)
    x = torch.zeros(count, 1, 1, 1, dtype=torch.float64)  # row 0: the start; row k: the noise of step k
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    t0 = grid[0]
    x[0] = ((1 - t0) ** 2 * policy.std**2 + t0**2) ** 0.5
    cond = policy.encode([""] * (count + 1))

    def velocity(x, t):
        return policy.velocity(x, t, cond[: len(x)])

    mean_velocity = MeanVelocity(velocity, solver)
    both = torch.cat([x, zero])  # the last row is the noise-free path, which is subtracted
    for k, (t, s) in enumerate(pairwise(grid), start=1):
        n = torch.zeros_like(both)
        n[k] = 1
        v = velocity(both, t)
        both = perturbed_step(both, mean_velocity(both, v, t, overshoot_time(s, g)), t, s, g, n)
    return float((both[:-1] - both[-1:]).square().sum())


def test_trained_times_are_spread_evenly_and_equally_often():
    policy = GaussianPolicy()
    method = FDFO(FdfoConfig(steps=10, trained_times=4))
    rollout = method.rollout(policy, prompts(4000), NOISE)
    slots = (rollout.t[:, :, None] - policy.grid(10)[:-1]).abs().argmin(2)
    counts = torch.bincount(slots.flatten(), minlength=10) / 8000
    assert_close(counts, torch.full((10,), 0.4), rtol=0, atol=0.02)
    gaps = slots.diff(dim=1)
    assert gaps.min() >= 2 and gaps.max() <= 3
    assert torch.equal(slots[0::2], slots[1::2])
    assert torch.equal(rollout.s, policy.grid(10)[slots + 1])


def test_shared_steps_are_sampled_once_and_shared():
    method, policy, rollout = run(count=3, shared_steps=2)
    assert [rows for rows, _ in policy.calls] == [3, 3, 6, 6, 6, 6]
    assert sum(rows for rows, _ in policy.calls) == method.sampling_evaluations(3)
    assert torch.equal(rollout.x[0::2, :2], rollout.x[1::2, :2])
    assert not torch.equal(rollout.x[0::2, 2], rollout.x[1::2, 2])


@pytest.mark.parametrize("settings", [{}, {"solver": "heun"}, {"branches": 3}, {"solver": "heun", "shared_steps": 2}])
def test_planned_evaluations_are_those_made(settings):
    method, policy, _ = run(count=3, **settings)
    assert sum(rows for rows, _ in policy.calls) == method.sampling_evaluations(3)


def test_failed_scores_drop_their_whole_group():
    method, _, rollout = run()
    total = quadratic(rollout.x0)
    total[3] = math.nan
    items = method.credit(rollout, scored(rollout, total))
    assert items.sample_number[:, 0].tolist() == [0, 1, 4, 5]
    clean = method.credit(rollout, scored(rollout))
    assert torch.equal(items.direction, clean.direction[[0, 1, 4, 5]])


def test_rollout_of_a_prompt_does_not_depend_on_its_batch():
    _, _, together = run(count=3)
    _, _, alone = run(count=1, first=2)
    assert_close(together.x0[4:], alone.x0)


def test_a_single_branch_learns_against_the_batch_mean_from_its_own_noise():
    method, _, rollout = run(branches=1, count=4)
    items = method.credit(rollout, scored(rollout))
    total = quadratic(rollout.x0)
    assert_close(items.slope[:, 0], total - total.mean())
    assert_close(torch.cosine_similarity(items.direction[:, 0].flatten(1), rollout.action.flatten(1)), torch.ones(4))


def test_step_credit_follows_the_noise_of_each_step():
    method, _, rollout = run(credit="step")
    items = method.credit(rollout, scored(rollout))
    gap = (rollout.added[0::2] - rollout.added[1::2]) / 2
    cosine = torch.cosine_similarity(items.direction[0::2].flatten(2), gap.flatten(2), dim=2)
    assert_close(cosine[:, :-1], torch.ones(3, 5))
    assert torch.count_nonzero(items.direction[:, -1]) == 0  # the last step adds no noise


def test_score_gradient_points_along_the_gradient():
    method, _, rollout = run(direction="score_gradient")
    assert method.needs_score_gradient
    gradient = -2 * (rollout.x0 - TARGET)
    items = method.credit(rollout, scored(rollout, gradient=gradient))
    vectors = scale_by(items.direction[:, 0], items.slope[:, 0]).flatten(1)
    assert_close(torch.cosine_similarity(vectors, gradient.flatten(1)), torch.ones(6))


def test_kl_weight_adds_the_distance_to_the_base():
    method, policy, rollout = run()
    items = in_float64(policy, method.credit(rollout, scored(rollout)))
    penalised = FDFO(FdfoConfig(steps=6, strength=0.01, kl_weight=2.0))
    policy.offset.data += 0.05
    added = losses(penalised, policy, items) - losses(method, policy, items)
    assert_close(added, torch.full((36,), 2 * 0.0025, dtype=torch.float64))


def test_the_surrogate_is_the_papers_unless_a_row_is_far_outside():
    method, policy, rollout = run()
    published = FDFO(FdfoConfig(steps=6, strength=0.01, trusted=None))
    items = method.credit(rollout, scored(rollout))
    policy.offset.data += 1e-4
    assert torch.equal(losses(method, policy, items), losses(published, policy, items))
    policy.offset.data += 0.1
    assert losses(published, policy, items).max() > 20 * losses(method, policy, items).max() > 0


def test_schedules_are_drawn_once_a_prompt_as_published():
    """Centre 1 + 1.5 n of a random interval of weight 1; weight exp(ln .1 + n') of the prior's."""
    grid = GaussianPolicy().grid(6)
    config = FdfoConfig(steps=6, schedule="random_interval")
    density, g = _schedule(grid, range(40), NOISE, config)
    centre = 1 + 1.5 * NOISE.normal((), "interval", range(40))
    expected = interval_density(grid, centre, 0.25)
    assert_close(density, expected.repeat_interleave(2, 0))
    assert_close(g[::2, :-1], torch.expm1(expected).float())
    ablation = config.model_copy(update={"schedule_weight": 3.0, "interval_centre": 1.3})
    _, g = _schedule(grid, range(40), NOISE, ablation)
    assert_close(g[::2, :-1], torch.expm1(3 * interval_density(grid, centre + 0.3, 0.25)).float())
    density, g = _schedule(grid, range(4000), NOISE, FdfoConfig(steps=6, schedule="prior_only"))
    assert torch.equal(g[::2], g[1::2]) and torch.count_nonzero(g[:, 1:]) == 0
    logs = g[::2, 0].log1p().log()  # ln of the weight
    assert logs.mean().item() == pytest.approx(math.log(0.1), abs=0.07)
    assert logs.std().item() == pytest.approx(1.0, abs=0.05)


def test_the_prior_schedule_perturbs_the_start_alone():
    """The branches' paths are those of the ODE from starts that differ."""
    _, policy, rollout = run(schedule="prior_only")
    assert (rollout.x0[0::2] - rollout.x0[1::2]).flatten(1).norm(dim=1).min() > 0
    x = rollout.x[:, 0]
    cond = policy.encode([""] * len(x))
    assert_close(rollout.x0, integrate(lambda x, t: policy.velocity(x, t, cond), x, policy.grid(6).tolist()).detach())


def test_a_deterministic_branch_is_the_ode_from_the_shared_start():
    _, policy, rollout = run(deterministic_branch=True, branches=3)
    z = NOISE.normal(policy.latent_shape, "start", [0, 1, 2])
    cond = policy.encode([""] * 3)
    x0 = integrate(lambda x, t: policy.velocity(x, t, cond), z, policy.grid(6).tolist()).detach()
    assert_close(rollout.x0[0::3], x0)
    assert (rollout.x0[1::3] - x0).abs().max() > 1e-3 and (rollout.x0[2::3] - x0).abs().max() > 1e-3


def test_independent_starts_are_those_of_the_samples():
    _, policy, rollout = run(start="independent", strength=0.0)
    assert_close(rollout.x[:, 0], NOISE.normal(policy.latent_shape, "start", range(6)))
    noisy = run(start="independent", strength=0.1)[2]
    assert torch.equal(noisy.x[:, 0], rollout.x[:, 0]) and (noisy.x0 - rollout.x0).abs().max() > 0.05


def test_antithetic_branches_mirror_each_other_on_a_linear_flow():
    """The mean of both is the path without noise but for the shrinking, which is the same for both."""
    _, policy, rollout = run(antithetic=True, strength=0.05)
    plain = run(strength=0.05)[2]
    z = NOISE.normal(policy.latent_shape, "start", [0, 1, 2])
    x, cond = z / 1.05, policy.encode([""] * 3)
    for t, s in pairwise(policy.grid(6).tolist()):
        v = policy.velocity(x, t, cond)
        x = perturbed_step(x, v, t, s, 0.05, torch.zeros_like(x)) if s > 0 else x - t * v
    assert_close((rollout.x0[0::2] + rollout.x0[1::2]) / 2, x.detach())
    assert ((plain.x0[0::2] + plain.x0[1::2]) / 2 - x).abs().max() > 0.02


def test_a_gap_may_stay_as_long_as_it_is():
    for branches in (2, 4):
        method, _, rollout = run(branches=branches, normalize_gap=False)
        items = method.credit(rollout, scored(rollout))
        scores, ends = scored(rollout).total.reshape(3, branches), rollout.x0.reshape(3, branches, -1)
        apart = (scores - scores.mean(1, keepdim=True))[:, :, None]
        expected = (apart * (ends - ends.mean(1, keepdim=True))).mean(1).repeat_interleave(branches, 0)
        assert_close(scale_by(items.direction[:, 0], items.slope[:, 0]).flatten(1), expected)


def test_times_may_be_weighted_as_the_perturbation_is():
    """On the uniform schedule all alike; on the others with mean 1 over the times of a trajectory."""
    method, _, rollout = run(time_weight="perturbation")
    assert torch.equal(method.credit(rollout, scored(rollout)).slope, run()[0].credit(rollout, scored(rollout)).slope)
    method, policy, rollout = run(time_weight="perturbation", schedule="random_interval", count=5)
    items = method.credit(rollout, scored(rollout))
    plain = FDFO(FdfoConfig(steps=6, schedule="random_interval")).credit(rollout, scored(rollout))
    density, _ = _schedule(policy.grid(6), range(5), NOISE, method.config)
    assert_close(items.slope, plain.slope * 6 * density.float())
    assert_close((items.slope / plain.slope).mean(1), torch.ones(10))


def test_unit_weights_lose_the_size_of_the_scores_differences_and_of_the_gap():
    for branches in (2, 4):
        method, _, rollout = run(branches=branches, weight="unit")
        items = method.credit(rollout, scored(rollout))
        vectors = scale_by(items.direction[:, 0], items.slope[:, 0])
        assert_close(vectors.square().flatten(1).mean(1), torch.ones(len(vectors)))
        plain = FDFO(FdfoConfig(steps=6, branches=branches)).credit(rollout, scored(rollout))
        along = scale_by(plain.direction[:, 0], plain.slope[:, 0])
        assert_close(torch.cosine_similarity(vectors.flatten(1), along.flatten(1)), torch.ones(len(vectors)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 4, "trained_times": 5},
        {"steps": 4, "shared_steps": 4},
        {"clip_range": 0},
        {"strength": 0},
        {"start": "independent", "shared_steps": 1},
        {"start": "independent", "schedule": "prior_only"},
        {"antithetic": True, "branches": 3},
        {"antithetic": True, "deterministic_branch": True},
        {"schedule": "prior_only", "shared_steps": 1},
        {"schedule": "prior_only", "credit": "step"},
        {"steps": 1, "credit": "step"},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        FdfoConfig(**wrong)
