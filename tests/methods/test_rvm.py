"""RVM and RAM: the forces of their losses, in closed form."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from tests.methods.world import flat, in_float64, make, prompts, scored
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=0)


@pytest.mark.parametrize("form", ["rvm", "ram"])
def test_the_force_is_the_published_one(form):
    """d loss / d v: RVM (A (v - u) + b (v - v_base)) / D, RAM 2 (v - v_base - A (u - v)) / D; A of .1 advantages."""
    policy, method = GaussianPolicy(), make("rvm", form=form, anchor_weight=0.3)
    rollout = method.rollout(policy, prompts(3), NOISE)
    scores = scored(method, rollout)
    rows = in_float64(policy, flat(method.credit(rollout, scores)))
    groups = scores.total.reshape(3, 4)
    advantage = (groups - groups.mean(1, keepdim=True)) / (scores.total.std(correction=0) + 1e-4)
    assert_close(rows.advantage.reshape(12, -1)[:, 0], advantage.clamp(-5, 5).flatten(), rtol=1e-5, atol=1e-6)
    policy.offset.data += 0.2 * torch.randn_like(policy.offset)
    v = policy.velocity(rows.x, rows.t, rows.cond)
    v_base, u = v - policy.offset, rows.eps - rows.x0
    a = (0.1 * rows.advantage).reshape(-1, 1, 1, 1)
    forces = {"rvm": (a * (v - u) + 0.3 * (v - v_base)) / 4, "ram": 2 * (v - v_base - a * (u - v)) / 4}
    expected = forces[form].detach().sum(0)  # the offset moves every velocity alike
    method.loss(policy, rows, None).losses.sum().backward()
    assert_close(policy.offset.grad, expected)


def test_without_an_anchor_the_base_is_not_evaluated():
    policy = GaussianPolicy()
    for settings, forwards in (({"anchor_weight": 0.0}, 0), ({"form": "ram", "anchor_weight": 0.0}, 1), ({}, 1)):
        method = make("rvm", **settings)
        rows = flat(method.credit(rollout := method.rollout(policy, prompts(2), NOISE), scored(method, rollout)))
        policy.calls.clear()
        method.loss(policy, rows, None)
        assert len(policy.calls) == 1 + forwards == 1 + method.row_forwards


def test_an_anchor_balances_a_bad_image_and_none_does_not():
    """Gradient descent on one velocity with A = -.5: with b = 1 it ends at v_base - (u - v_base), else it runs away."""
    method, policy = make("rvm", anchor_weight=1.0), GaussianPolicy()
    rows = flat(method.credit(rollout := method.rollout(policy, prompts(1), NOISE), scored(method, rollout)))
    rows = in_float64(policy, rows.rows(torch.tensor([0]), torch.tensor([0])) if rows.t.ndim > 1 else rows)
    one = type(rows)(**{**vars(rows), "advantage": torch.full_like(rows.advantage, -5.0)})
    u, base = one.target, policy.velocity(one.x, one.t, one.cond).detach()
    for anchor in (1.0, 0.0):
        method, policy = make("rvm", anchor_weight=anchor), GaussianPolicy()
        policy.offset.data = policy.offset.data.double()
        optimizer = torch.optim.SGD([policy.offset], lr=1.0)
        for _ in range(200):
            optimizer.zero_grad()
            method.loss(policy, one, None).losses.mean().backward()
            optimizer.step()
        expected = -(u - base).mean(0)  # A (o + base - u) + b o = 0 on average: o = -.5 (u - base) / .5
        if anchor:
            assert_close(policy.offset.detach(), expected, rtol=1e-3, atol=1e-4)
        else:
            assert policy.offset.norm() > 1e3 * expected.norm()
