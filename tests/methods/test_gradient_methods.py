"""ReFL and DRaFT: the gradient that goes through the sampler."""

from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.methods.draft import DraftConfig
from fdfo.methods.refl import ReflConfig
from tests.methods.world import Quadratic, flat, make, prompts, scored
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=0)


class Flow(GaussianPolicy):
    """A velocity that is not linear, so that the Jacobians of the steps matter."""

    def velocity(self, x, t, cond, *, weights="current"):
        return super().velocity(x, t, cond, weights=weights) + torch.sin(3 * x) * self.offset


def gradient_of(method, policy, count=3):
    rollout = method.rollout(policy, prompts(count), NOISE)
    rows = flat(method.credit(rollout, scored(method, rollout)))
    policy.calls.clear()
    output = method.loss(policy, rows, Quadratic())
    output.losses.sum().backward()
    gradient, policy.offset.grad = policy.offset.grad, None
    return rows, output, gradient


def by_hand(policy, steps, last, count=3):
    """Minus the gradient of the score through the last Euler steps, and the images."""
    grid = policy.grid(steps).tolist()
    cond = policy.encode([""] * count)
    x = NOISE.normal(policy.latent_shape, "start", range(count))
    for i, (t, s) in enumerate(pairwise(grid)):
        v = policy.velocity(x, t, cond)
        x = x + (s - t) * (v if i >= steps - last else v.detach())
    (gradient,) = torch.autograd.grad(-Quadratic()(x, [], []).sum(), policy.offset)
    return gradient, x.detach()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("last", [1, 3, "all"])
def test_draft_is_autograd_through_the_last_steps_of_the_solver(last, checkpointing):
    policy = Flow()
    policy.offset.data += 0.1
    _, output, gradient = gradient_of(make("draft", last_steps=last, checkpointing=checkpointing), policy)
    expected, x0 = by_hand(policy, 4, 4 if last == "all" else last)
    assert_close(gradient, expected)
    assert_close(output.metrics["trained_score"], Quadratic()(x0, [], []))


def test_checkpointing_counts_its_first_pass_as_a_forward_evaluation():
    class Counting(Flow):
        def velocity(self, x, t, cond, *, weights="current"):
            modes.append(torch.is_grad_enabled())
            return super().velocity(x, t, cond, weights=weights)

    for checkpointing, expected in ((False, [True] * 3), (True, [False] * 3 + [True] * 3)):
        method, policy = make("draft", last_steps=3, checkpointing=checkpointing), Counting()
        modes = []
        rollout = method.rollout(policy, prompts(1), NOISE)
        rows = flat(method.credit(rollout, scored(method, rollout)))
        modes.clear()
        method.loss(policy, rows, Quadratic()).losses.sum().backward()
        assert modes == expected


def test_draft_lv_starts_from_independent_re_noised_images():
    policy, method = Flow(), make("draft", copies=64, steps=4)
    rollout = method.rollout(policy, prompts(8), NOISE)
    last = float(policy.grid(4)[-2])
    assert torch.equal(rollout.t, torch.full((8, 64), last))
    eps = (rollout.x - (1 - last) * rollout.x0[:, None]) / last
    assert float(eps.mean()) == pytest.approx(0, abs=4 / eps.numel() ** 0.5)
    assert float(eps.square().mean()) == pytest.approx(1, abs=4 * (2 / eps.numel()) ** 0.5)
    assert eps.flatten(2).std(1).min() > 0.5


def test_refl_goes_through_one_velocity_at_its_late_step():
    policy, method = Flow(), make("refl", weight=0.5)
    policy.offset.data += 0.1
    rows, output, gradient = gradient_of(method, policy)
    t = rows.t.reshape(-1, 1, 1, 1)
    v = policy.velocity(rows.x, rows.t, rows.cond)
    score = Quadratic()(rows.x - t * v, [], [])
    (expected,) = torch.autograd.grad(-0.5 * score.sum(), policy.offset)
    assert_close(gradient, expected)
    assert_close(output.losses, (-0.5 * score).float())


def test_late_steps_are_the_last_quarter_equally_often():
    steps = make("refl", steps=40)._late_steps(range(4000), NOISE).flatten()
    counts = torch.bincount(steps, minlength=40)
    assert counts[:30].sum() == 0
    assert_close(counts[30:] / 4000, torch.full((10,), 0.1), rtol=0, atol=0.02)


def test_scores_above_the_margin_are_left_alone():
    policy = Flow()
    rows, output, _ = gradient_of(make("refl", margin=-2.0, weight=1.0), policy, count=32)
    score = output.metrics["predicted_score"]
    assert (score > -2).any() and (score < -2).any()
    assert_close(output.losses, torch.clamp(-2.0 - score, min=0).float())
    assert rows.t.max() < 1


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (DraftConfig, {"steps": 4, "last_steps": 5}),
        (DraftConfig, {"last_steps": 2, "copies": 2}),
        (DraftConfig, {"solver": "multistep"}),
        (ReflConfig, {"late_share": 0}),
        (ReflConfig, {"margin": float("nan")}),
    ],
)
def test_impossible_settings_are_refused(config, wrong):
    with pytest.raises(ValidationError):
        config(**wrong)
