"""Flow-GRPO and DDPO: what their rows hold, their windows, and that the score function is unbiased."""

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.transition import transition
from fdfo.methods.ddpo import DDPO
from fdfo.methods.flow_grpo import FlowGRPO
from fdfo.methods.settings.ddpo import DdpoConfig
from fdfo.methods.settings.flow_grpo import FlowGrpoConfig
from fdfo.methods.statistics import PromptStatistics
from fdfo.records import Prompt
from tests.methods.world import TARGET, flat, make, prompts, scored
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=0)


@pytest.mark.parametrize("sampler", ["sde", "cps"])
def test_rows_hold_the_transitions_that_were_made(sampler):
    """Each state is the mean of the step before plus its noise; the last one is the image."""
    method, policy = make("flow_grpo", sampler=sampler), GaussianPolicy()
    rollout = method.rollout(policy, prompts(2), NOISE)
    second = float(policy.grid(4)[1])
    states = [*rollout.x.unbind(1), rollout.x0]
    for k in range(method.trained_times):
        made = transition(sampler, rollout.x[:, k], rollout.v[:, k], rollout.t[:, k], rollout.s[:, k], second, 0.7)
        x_s = made[0] + made[1] * rollout.noise[:, k]
        if k + 2 < len(states):
            assert_close(states[k + 1], x_s)
    assert (rollout.s[:, -1] == policy.grid(4)[3]).all()
    last = policy.velocity(x_s, policy.grid(4)[3], policy.encode([""] * len(x_s)))
    assert_close(rollout.x0, x_s - policy.grid(4)[3] * last)  # the last step is one of the ODE, and not trained


def test_steps_outside_the_window_are_those_of_the_ode():
    policy = GaussianPolicy()
    method = make("flow_grpo", window=1, steps=6)
    rollout = method.rollout(policy, prompts(64), NOISE)
    cond = policy.encode([""] * len(rollout.x0))
    x = NOISE.normal(policy.latent_shape, "start", range(len(rollout.x0)))
    reached = x.clone()
    for t, s in pairwise(policy.grid(6).tolist()):
        with torch.no_grad():
            x = x + (s - t) * policy.velocity(x, t, cond)
        ahead = rollout.t[:, 0] < t
        reached[ahead] = x[ahead]  # at the last step before the window
    assert_close(rollout.x[:, 0], reached)


@pytest.mark.parametrize(("place", "places"), [("random", 8), ("first_half", 4)])
def test_windows_are_at_every_place_equally_often_and_common_to_a_group(place, places):
    """Of ten steps, a window of two before the last one, or inside the first five."""
    method = make("flow_grpo", window=2, steps=10, window_place=place)
    for epoch in (0, 1):
        starts = method._window_starts(range(40 * places), NoiseStreams(seed=0, epoch=epoch))
        assert torch.bincount(starts).tolist() == [40] * places
    over_epochs = [int(method._window_starts([5], NoiseStreams(seed=0, epoch=epoch))[0]) for epoch in range(places)]
    assert sorted(over_epochs) == list(range(places))
    rollout = method.rollout(GaussianPolicy(), prompts(3), NOISE)
    assert torch.equal(rollout.t[0::4], rollout.t[3::4])


def test_a_shared_prefix_is_sampled_once_and_parted_by_the_windows_noise():
    """Three prompts, whose windows of two begin at steps 0, 1 and 0 of six; groups of four."""
    policy, settings = GaussianPolicy(), {"steps": 6, "window": 2, "window_place": "first_half", "kl_weight": 0.0}
    method = make("flow_grpo", shared_prefix=True, **settings)
    rollout = method.rollout(policy, prompts(3), NOISE)
    first = [(number + NOISE.epoch) % 2 for number in range(3)]  # two places in the first half
    expected = [sum(4 if step > begin else 1 for begin in first) for step in range(6)]  # one row until the noise
    assert [rows for rows, _ in policy.calls] == expected
    z = NOISE.normal(policy.latent_shape, "start", range(3))
    for p, begin in enumerate(first):
        x, grid = z[p : p + 1], policy.grid(6).tolist()
        for t, s in pairwise(grid[: begin + 1]):
            x = x + (s - t) * policy.velocity(x, t, policy.encode([""]))
        group = slice(4 * p, 4 * p + 4)
        assert_close(rollout.x[group, 0], x.expand(4, -1, -1, -1))  # one state before the noise
        assert len(rollout.x[group, 1].unique(dim=0)) == 4  # and four after it
        assert_close(rollout.v[group, 0], policy.velocity(x, grid[begin], policy.encode([""])).expand(4, -1, -1, -1))


def test_images_of_a_shared_prefix_differ_by_their_windows_alone():
    """With the noise of the window set to that of one image, all images of a group are the same."""
    method = make("flow_grpo", shared_prefix=True, window=1, steps=4)

    class Alike(NoiseStreams):
        def normal(self, shape, use, samples, step=0):
            return super().normal(shape, use, [0] * len(samples) if use == "transition" else samples, step)

    rollout = method.rollout(GaussianPolicy(), prompts(2), Alike(seed=0, epoch=0))
    assert_close(rollout.x0[1:4], rollout.x0[:1].expand(3, -1, -1, -1))
    assert (rollout.x0[0] - rollout.x0[4]).abs().max() > 0.1


def test_trained_times_are_some_of_the_stochastic_steps_equally_often():
    """Of a window of three at step 2 of 6, two are trained; all three are stochastic."""
    method, policy = make("flow_grpo", steps=6, window=3, trained_times=2, window_place="sliding"), GaussianPolicy()
    grid = policy.grid(6)
    rollout = method.rollout(policy, prompts(600), NoiseStreams(seed=0, epoch=50))
    counts = torch.stack([(rollout.t == t).sum() for t in grid[:-1]]) / len(rollout.x0)
    assert_close(counts, torch.tensor([0, 0, 2 / 3, 2 / 3, 2 / 3, 0]), rtol=0, atol=0.06)
    whole = make("flow_grpo", steps=6, window=3, window_place="sliding")
    assert torch.equal(whole.rollout(policy, prompts(600), NoiseStreams(seed=0, epoch=50)).x0, rollout.x0)


def test_a_sliding_window_goes_from_noise_to_image_and_starts_over():
    method = make("flow_grpo", window=2, steps=5, window_place="sliding", window_epochs=5)
    places = [int(method._window_starts([7], NoiseStreams(0, epoch))[0]) for epoch in (0, 4, 5, 10, 14, 15)]
    assert places == [0, 0, 1, 2, 2, 0]


def test_advantages_are_those_of_the_group_in_units_of_the_batch_and_clipped():
    method = make("flow_grpo", advantage_clip=1.0)
    rollout = method.rollout(GaussianPolicy(), prompts(3), NOISE)
    scores = scored(method, rollout)
    groups = scores.total.reshape(3, 4)
    expected = (groups - groups.mean(1, keepdim=True)) / (scores.total.std(correction=0) + 1e-4)
    assert expected.abs().max() > 1
    assert_close(method.credit(rollout, scores).advantage[:, 0], expected.clamp(-1, 1).flatten().float())


@pytest.mark.parametrize("form", ["paper", "code"])
def test_the_divergence_is_that_of_the_transitions(form):
    """KL of two Gaussians from their means, over D; the authors' code leaves the step's length out of the variance."""
    policy, settings = GaussianPolicy(), {"clip_range": 0.9}
    method = make("flow_grpo", kl_weight=0.5, kl_form=form, **settings)
    rows = flat(method.credit(rollout := method.rollout(policy, prompts(2), NOISE), scored(method, rollout)))
    policy.offset.data += 0.3
    second = float(policy.grid(4)[1])
    means = [transition("sde", rows.x, rows.v_ref + shift, rows.t, rows.s, second, 0.7) for shift in (0.3, 0.0)]
    variance = means[0][1].square()
    if form == "code":
        variance = variance / (rows.t - rows.s).reshape(-1, 1, 1, 1)
    expected = ((means[0][0] - means[1][0]).square() / (2 * variance)).flatten(1).mean(1)
    output, without = method.loss(policy, rows, None), make("flow_grpo", **settings).loss(policy, rows, None)
    assert_close(output.metrics["divergence"], expected, rtol=1e-4, atol=1e-6)
    assert_close(output.losses - without.losses, 0.5 * expected, rtol=1e-3, atol=1e-5)


def test_rows_far_away_are_left_out_unless_they_come_back():
    """Flow-DPPO: the KL of old and new transition, and whether the ratio moved as the advantage wants it."""
    policy, method = GaussianPolicy(), make("flow_grpo", kl_weight=0.0)
    rows = flat(method.credit(rollout := method.rollout(policy, prompts(8), NOISE), scored(method, rollout)))
    policy.offset.data += 0.1 * torch.randn_like(policy.offset)
    second = float(policy.grid(4)[1])
    v = policy.velocity(rows.x, rows.t, rows.cond)
    (old, std), (new, _) = (transition("sde", rows.x, u, rows.t, rows.s, second, 0.7) for u in (rows.v_ref, v))
    divergence = (new - old).square().flatten(1).mean(1) / (2 * std.flatten().square())
    x_s = old + std * rows.noise
    log_ratio = (((x_s - old).square() - (x_s - new).square()) / (2 * std.square())).flatten(1).mean(1)
    moves_away = ((log_ratio > 0) & (rows.advantage > 0)) | ((log_ratio < 0) & (rows.advantage < 0))
    limit = 0.9 * divergence.max().item()  # which differs by time alone
    far = divergence >= limit
    assert (far & moves_away).sum() > 0 and (far & ~moves_away).sum() > 0 and (~far & moves_away).sum() > 0
    mask = make("flow_grpo", trust_region="divergence", divergence_limit=limit, kl_weight=0.0)
    output = mask.loss(policy, rows, None)
    assert_close(output.losses, torch.where(far & moves_away, 0.0, -rows.advantage * log_ratio.exp()))
    assert torch.equal(output.metrics["clip_fraction"], far.float())


def test_the_score_function_is_unbiased_on_a_linear_flow():
    """Its mean over images, times D and the scores' deviation, against the exact gradient of the mean score.

    The image is affine in the offset and in all noises, so E R = -|E x0 - TARGET|^2 - a constant. The offset of the
    last step, which is not trained, is held fixed.
    """
    policy, steps, count = GaussianPolicy(), 4, 16384
    method = DDPO(DdpoConfig(steps=steps, form="score_function", advantage_clip=100))
    rollout = method.rollout(policy, [Prompt(text=str(i), number=i) for i in range(count)], NOISE)
    scores = scored(method, rollout)
    items = method.credit(rollout, scores)
    estimates = []
    for part in torch.arange(count).chunk(16):
        samples, times = part.repeat_interleave(steps - 1), torch.arange(steps - 1).repeat(len(part))
        loss = method.loss(policy, items.rows(samples, times), None).losses.sum() / len(part)
        (gradient,) = torch.autograd.grad(loss, policy.offset)
        estimates.append(-gradient.flatten() * policy.offset.numel() * scores.batch_std)
    estimates = torch.stack(estimates)

    x, grid = torch.zeros(1, *policy.latent_shape), policy.grid(steps)
    for t, s in pairwise(grid.tolist()):
        v = policy.velocity(x, t, policy.encode([""]))
        if s == 0:
            x = x + (s - t) * (v - policy.offset + policy.offset.detach())
            break
        x, _ = transition("sde", x, v, t, s, float(grid[1]), 0.7)
    (exact,) = torch.autograd.grad(-(x - TARGET).square().sum(), policy.offset)
    error = estimates.std(0) / 4
    assert error.max() < 0.06 * exact.abs().min()
    assert ((estimates.mean(0) - exact.flatten()).abs() < 4 * error).all()


def test_running_statistics_take_over_when_a_prompt_has_enough_scores():
    memory = PromptStatistics(buffer_size=3, needed=2)
    pair = [Prompt(text="a"), Prompt(text="b")]
    memory.observe(pair, torch.tensor([1.0, math.nan]))
    assert memory.of("a") is None and memory.of("b") is None
    memory.observe(pair, torch.tensor([3.0, 5.0]))
    assert memory.of("a") == (2.0, 1.0) and memory.of("b") is None
    memory.observe(pair[:1], torch.tensor([5.0]))
    memory.observe(pair[:1], torch.tensor([7.0]))  # the 1 is forgotten
    assert memory.of("a") == (5.0, pytest.approx(math.sqrt(8 / 3)))
    again = PromptStatistics(buffer_size=3, needed=2)
    again.restore(memory.state())
    assert again.of("a") == memory.of("a")
    again.observe(pair[:1], torch.tensor([9.0]))
    assert again.of("a") == (7.0, pytest.approx(math.sqrt(8 / 3)))


def test_ddpo_compares_with_the_prompts_own_past_or_else_with_the_batch():
    method, policy = make("ddpo", needed_scores=2), GaussianPolicy()
    first = method.rollout(policy, prompts(4), NOISE)
    scores = scored(method, first)
    expected = (scores.total - scores.total.mean()) / (scores.total.std(correction=0) + 1e-4)
    assert_close(method.credit(first, scores).advantage[:, 0], expected.float())
    past = scores.total[1]
    second = method.rollout(policy, prompts(1, first=1), NOISE)
    scores = scored(method, second, batch=torch.tensor([30.0], dtype=torch.float64))
    scores.total[0] = 30.0
    own = torch.stack([past, scores.total[0]])
    expected = (30 - own.mean()) / (own.std(correction=0) + 1e-4)
    assert_close(method.credit(second, scores).advantage[0, 0], expected.float())


def test_ddpo_with_several_images_compares_them_with_each_other_and_the_past():
    method = make("ddpo", images_per_prompt=3, needed_scores=3)
    rollout = method.rollout(GaussianPolicy(), prompts(2), NOISE)
    scores = scored(method, rollout)
    groups = scores.total.reshape(2, 3)
    expected = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, correction=0, keepdim=True) + 1e-4)
    assert_close(method.credit(rollout, scores).advantage[:, 0], expected.flatten().float())


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (FlowGrpoConfig, {"window": 10}),
        (FlowGrpoConfig, {"window": 6, "window_place": "first_half"}),
        (FlowGrpoConfig, {"window_place": "first_half"}),
        (FlowGrpoConfig, {"steps": 1}),
        (FlowGrpoConfig, {"window": 2, "trained_times": 3}),
        (DdpoConfig, {"steps": 3, "trained_times": 3}),
        (FlowGrpoConfig, {"group_size": 1}),
        (FlowGrpoConfig, {"noise_level": 0}),
        (DdpoConfig, {"needed_scores": 33}),
    ],
)
def test_impossible_settings_are_refused(config, wrong):
    with pytest.raises(ValidationError):
        config(**wrong)


def test_published_defaults():
    config = FlowGRPO(FlowGrpoConfig()).config
    assert (config.group_size, config.steps, config.noise_level, config.clip_range) == (24, 10, 0.7, 1e-4)
    assert (config.spread, config.advantage_clip, config.kl_weight) == ("batch", 5, 0.04)


def test_coefficient_preserving_rows_leave_out_the_division_by_their_noise():
    """log ratio = mean((x_s - mean_old)^2 - (x_s - mean)^2)."""
    method, policy = make("flow_grpo", sampler="cps", clip_range=0.9), GaussianPolicy()
    rows = flat(method.credit(rollout := method.rollout(policy, prompts(2), NOISE), scored(method, rollout)))
    policy.offset.data += 0.1
    old, std = transition("cps", rows.x, rows.v_ref, rows.t, rows.s, 1.0, 0.7)
    new, _ = transition("cps", rows.x, rows.v_ref + 0.1, rows.t, rows.s, 1.0, 0.7)
    x_s = old + std * rows.noise
    expected = ((x_s - old).square() - (x_s - new).square()).flatten(1).mean(1)
    assert_close(method.loss(policy, rows, None).metrics["ratio_change"], expected.abs(), rtol=1e-4, atol=1e-6)
