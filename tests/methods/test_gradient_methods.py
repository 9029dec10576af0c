"""ReFL and DRaFT: the gradient that goes through the sampler."""

from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.solve import integrate
from fdfo.methods.settings.draft import DraftConfig
from fdfo.methods.settings.refl import ReflConfig
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


def by_hand(policy, steps, last):
    """Minus the gradient of the score through the last Euler steps of each image, and the images."""
    images = []
    for number, own in enumerate(last):
        x = NOISE.normal(policy.latent_shape, "start", [number])
        for i, (t, s) in enumerate(pairwise(policy.grid(steps).tolist())):
            v = policy.velocity(x, t, policy.encode([""]))
            x = x + (s - t) * (v if i >= steps - own else v.detach())
        images.append(x)
    x0 = torch.cat(images)
    (gradient,) = torch.autograd.grad(-Quadratic()(x0, [], []).sum(), policy.offset)
    return gradient, x0.detach()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("last", [1, 3, "all"])
def test_draft_is_autograd_through_the_last_steps_of_the_solver(last, checkpointing):
    policy = Flow()
    policy.offset.data += 0.1
    _, output, gradient = gradient_of(make("draft", last_steps=last, checkpointing=checkpointing), policy)
    expected, x0 = by_hand(policy, 4, [4 if last == "all" else last] * 3)
    assert_close(gradient, expected)
    assert_close(output.losses, -Quadratic()(x0, [], []).float())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_randomised_truncation_gives_every_image_a_length_of_its_own(checkpointing):
    """Six images on a grid of four steps, in epoch 0: K = 1, 2, 3, 4, 1, 2; the next epoch goes on by one."""
    policy = Flow()
    policy.offset.data += 0.1
    method = make("draft", last_steps="random", checkpointing=checkpointing)
    rows, output, gradient = gradient_of(method, policy, count=6)
    expected, x0 = by_hand(policy, 4, [1, 2, 3, 4, 1, 2])
    assert_close(gradient, expected)
    assert_close(output.losses, -Quadratic()(x0, [], []).float())
    assert rows.step.tolist() == [3, 2, 1, 0, 3, 2]
    again = method.rollout(policy, prompts(6), NoiseStreams(seed=0, epoch=1))
    assert again.step.flatten().tolist() == [2, 1, 0, 3, 2, 1]


def test_rows_of_different_length_do_not_depend_on_their_order():
    policy, method = Flow(), make("draft", last_steps="random")
    policy.offset.data += 0.1
    items = method.credit(rollout := method.rollout(policy, prompts(6), NOISE), scored(method, rollout))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    first, second = (method.loss(policy, items.rows(rows, rows * 0), Quadratic()) for rows in (torch.arange(6), order))
    assert_close(first.losses[order], second.losses)


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
    x = NOISE.normal(policy.latent_shape, "start", range(8))
    x0 = integrate(lambda x, t: policy.velocity(x, t, policy.encode([""] * 8)), x, policy.grid(4).tolist()).detach()
    eps = (rollout.x - (1 - last) * x0[:, None]) / last
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
    for epoch in (0, 7):
        steps = make("refl", steps=40)._late_steps(range(4000), NoiseStreams(seed=0, epoch=epoch))
        assert torch.bincount(steps).tolist() == [0] * 30 + [400] * 10


@pytest.mark.parametrize("solver", ["euler", "heun", "multistep"])
def test_no_trajectory_is_sampled_beyond_its_state(solver):
    """Eight images of late steps 4 to 7 of eight: each state is that of a whole trajectory, at fewer evaluations."""
    policy, method = Flow(), make("refl", steps=8, late_share=0.5, solver=solver)
    policy.offset.data += 0.1
    rollout = method.rollout(policy, prompts(8), NOISE)
    each = {"euler": 1, "heun": 2, "multistep": 1}[solver]
    assert sum(rows for rows, _ in policy.calls) == each * 2 * (4 + 5 + 6 + 7) == method.sampling_evaluations(8)
    states = {}
    z = NOISE.normal(policy.latent_shape, "start", range(8))
    with torch.no_grad():
        integrate(
            lambda x, t: policy.velocity(x, t, policy.encode([""] * len(x))),
            z,
            policy.grid(8).tolist(),
            solver,
            lambda i, t, x: states.update({i: (t, x)}),
        )
    for number, step in enumerate(rollout.step.flatten().tolist()):
        t, x = states[step]
        assert step == 4 + number % 4
        assert float(rollout.t[number]) == pytest.approx(t)
        assert_close(rollout.x[number, 0], x[number])


def test_a_failed_score_teaches_nothing_and_leaves_the_others_as_they_are():
    class Failing(Quadratic):
        def __call__(self, images, prompts, metadata):
            scores = super().__call__(images, prompts, metadata)
            return scores.where(torch.arange(len(scores)) != 1, torch.nan)

    for variant in ("refl", "draft-3"):
        method, policy = make(variant), Flow()
        rows, whole, _ = gradient_of(method, policy, count=3)
        output = method.loss(policy, rows, Failing())
        assert output.losses.tolist() == [whole.losses[0].item(), 0.0, whole.losses[2].item()]
        output.losses.sum().backward()
        kept = rows._map(lambda tensor: tensor[[0, 2]])
        failed, policy.offset.grad = policy.offset.grad, None
        method.loss(policy, kept, Quadratic()).losses.sum().backward()
        assert_close(failed, policy.offset.grad)


def test_scores_above_the_margin_are_left_alone():
    policy = Flow()
    rows, output, _ = gradient_of(make("refl", margin=-2.0, weight=1.0), policy, count=32)
    t = rows.t.reshape(-1, 1, 1, 1)
    score = Quadratic()(rows.x - t * policy.velocity(rows.x, rows.t, rows.cond), [], []).detach()
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
