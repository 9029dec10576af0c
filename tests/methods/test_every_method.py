"""What holds for every method and variant: gradients, invariances, counts, and that it learns."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.noise import NoiseStreams
from fdfo.records import Scores
from fdfo.training.carried_state import carried_state, restore_carried_state
from tests.methods.world import (
    SETTINGS,
    VARIANTS,
    Quadratic,
    flat,
    held_out_scores,
    in_float64,
    make,
    make_engine,
    prompts,
    scored,
    start_averages,
    train,
)
from tests.nightly import at_night, by_day
from tests.worlds import GaussianPolicy

NOISE = NoiseStreams(seed=0, epoch=3)
HAVE_CONSTANTS = ("nft", "rvm", "opsd")
"""Methods whose loss has parts that are constants for the gradient, tested in test_matching.py and test_opsd.py."""

every_variant = pytest.mark.parametrize("variant", VARIANTS)


def rollout_of(variant, count=3, first=0, **settings):
    method, policy = make(variant, **settings), GaussianPolicy()
    start_averages(method, policy)
    return method, policy, method.rollout(policy, prompts(count, first), NOISE)


def items_of(variant, **settings):
    method, policy, rollout = rollout_of(variant, **settings)
    return method, policy, flat(method.credit(rollout, scored(method, rollout)))


@every_variant
def test_planned_evaluations_and_rows_are_those_made(variant):
    """Network calls are counted, row by row; twelve prompts hold every place of what goes round them."""
    method, policy, rollout = rollout_of(variant, count=12)
    assert sum(rows for rows, _ in policy.calls) == method.sampling_evaluations(12)
    items = method.credit(rollout, scored(method, rollout))
    assert (items.num_samples, items.num_times) == (12 * method.group_size, method.trained_times)
    policy.calls.clear(), policy.graded.clear()
    rows = flat(items)
    output = method.loss(policy, rows, Quadratic())
    if method.row_forwards and getattr(method, "is_chain", False):
        output.losses.sum().backward()  # what is recomputed
    calls = list(zip([n for n, _ in policy.calls], policy.graded, strict=True))
    assert sum(n for n, has_gradient in calls if has_gradient) == len(rows.t) * method.row_evaluations
    assert sum(n for n, has_gradient in calls if not has_gradient) == len(rows.t) * method.row_forwards
    assert set(output.metrics) == set(method.metrics)
    times = items.t[0].tolist()
    assert all(t >= s for t, s in pairwise(times))  # slots stand in order of time, as the partition presumes


SMOOTH = {
    **{name: {"clip_range": 0.5} for name in ("flow_grpo", "ddpo")},
    "fdfo": {"clip_range": 0.5, "movement_limit": None},
    "art": {"movement_limit": None},
    "awm": {"on_policy": False},  # else the old policy moves with the new one
}
"""Settings with a trust region wide enough to be smooth, and an old policy that stands still."""


@pytest.mark.parametrize("variant", [name for name in VARIANTS if not name.startswith(HAVE_CONSTANTS)])
def test_the_gradient_of_the_loss_equals_finite_differences(variant):
    """Away from the behaviour policy."""
    method, policy, items = items_of(variant, **SMOOTH.get(VARIANTS[variant][0], {}))
    rows = in_float64(policy, items)
    policy.offset.data += 0.02 * torch.randn_like(policy.offset)

    def loss():
        return method.loss(policy, rows, Quadratic()).losses.sum()

    loss().backward()
    for index in [(0, 0, 0), (0, 1, 1)]:
        values = []
        for step in (1e-6, -1e-6):
            policy.offset.data[index] += step
            values.append(loss().item())
            policy.offset.data[index] -= step
        assert policy.offset.grad[index].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    "variant", [name for name in VARIANTS if name.startswith(("flow_grpo", "ddpo", "awm", "fdfo", "art"))]
)
def test_the_log_ratio_is_zero_at_the_behaviour_policy(variant):
    method, policy, items = items_of(variant, **SMOOTH.get(VARIANTS[variant][0], {}))
    metrics = method.loss(policy, items, Quadratic()).metrics
    assert float(metrics["ratio_change"].max()) == 0
    policy.offset.data += 0.01
    assert float(method.loss(policy, items, Quadratic()).metrics["ratio_change"].min()) > 0


@every_variant
def test_two_processes_see_what_one_does(variant):
    """Rows of the prompts 0, 1 and 2 .. 4, made apart from the scores of all, are those of one process."""
    method, _, whole = rollout_of(variant, count=5)
    together = method.credit(whole, scored(method, whole))
    parts = []
    for count, first in ((2, 0), (3, 2)):
        method, _, rollout = rollout_of(variant, count=count, first=first)
        scores = scored(method, rollout, prompts(5), Quadratic()(whole.x0, [], []).double())
        parts.append(method.credit(rollout, scores))
    joined = type(together).cat(parts)
    for name in vars(together):
        if name not in ("prompts", "conditioning"):
            assert_close(getattr(joined, name), getattr(together, name), rtol=1e-6, atol=1e-6)


def follows_the_gradient(variant):
    return make(variant).differentiates_reward or make(variant).needs_score_gradient


compares_scores = pytest.mark.parametrize("variant", [name for name in VARIANTS if not follows_the_gradient(name)])


@compares_scores
@pytest.mark.parametrize("score", [123.456, 100000.3])
def test_equal_scores_teach_exactly_nothing(variant, score):
    method, policy, rollout = rollout_of(variant, count=24)
    total = torch.full((len(rollout.x0),), score, dtype=torch.float64)
    if method.memory is not None:
        method.memory.observe(rollout.prompts, total)
    items = method.credit(rollout, Scores(total=total, components={}, batch=total))
    method.loss(policy, flat(items), Quadratic()).losses.sum().backward()
    assert torch.equal(policy.offset.grad, torch.zeros_like(policy.offset))


@compares_scores
def test_a_score_plus_1e9_trains_like_the_score(variant):
    offsets = []
    for constant in (0.0, 1e9):
        engine = make_engine(make(variant), GaussianPolicy())
        engine.reward.constant = constant
        train(engine, epochs=2, count=6)
        offsets.append(engine.policy.offset.detach())
    assert offsets[0].abs().max() > 1e-3
    assert_close(*offsets, rtol=1e-4, atol=1e-5)  # float64 holds 1e9 + x in steps of 1e-7


@every_variant
def test_every_image_has_noise_of_its_own(variant):
    method, _, rollout = rollout_of(variant, count=3)
    assert len(rollout.x0.unique(dim=0)) == 3 * method.group_size


@every_variant
@pytest.mark.parametrize("micro_batch", [at_night(1), 3, at_night(16)])
def test_the_micro_batch_does_not_matter(variant, micro_batch):
    offsets = []
    for size in (1000, micro_batch):
        policy = GaussianPolicy()
        train(make_engine(make(variant), policy, micro_batch=size), epochs=2, count=3)
        offsets.append(policy.offset.detach())
    assert_close(offsets[0], offsets[1], rtol=1e-4, atol=1e-6)  # Adam divides rounding by rounding near zero gradients
    assert offsets[0].abs().max() > 1e-3


@every_variant
def test_a_failed_score_drops_its_group_and_nothing_else(variant):
    method, _, rollout = rollout_of(variant)
    scores = scored(method, rollout)
    clean = method.credit(rollout, scores)
    scores.total[method.group_size] = torch.nan  # in the second prompt
    items = method.credit(rollout, scores)
    kept = [n for n in range(3 * method.group_size) if n // method.group_size != 1]
    assert items.sample_number[:, 0].tolist() == kept
    for name in vars(items):
        if name not in ("prompts", "conditioning"):
            assert torch.equal(getattr(items, name), getattr(clean, name)[kept])


@every_variant
def test_a_rollout_whose_scores_all_failed_has_no_rows(variant):
    method, _, rollout = rollout_of(variant)
    scores = scored(method, rollout)
    whole = method.credit(rollout, scores)
    scores.total[:] = torch.nan
    items = method.credit(rollout, scores)
    assert items.num_samples == 0
    joined = type(items).cat([items, whole])
    assert torch.equal(joined.sample_number, whole.sample_number)


@pytest.mark.parametrize("variant", by_day(SETTINGS, VARIANTS))
def test_the_reward_rises_beyond_noise(variant):
    """Held-out images from the same starts before and after; 1.96 would be perfect, and random scores give 0 +- 0.5."""
    policy = GaussianPolicy()
    before = held_out_scores(policy)
    train(make_engine(make(variant), policy), epochs=30, count=16)
    rise = held_out_scores(policy) - before
    assert rise.mean() > 5 * rise.std() / len(rise) ** 0.5
    assert rise.mean() > 1.4


@every_variant
def test_training_continues_from_what_it_carries(variant):
    """Three epochs in one, and one epoch, then two more with all state but the carried one copied."""

    def engine_of(policy):
        return make_engine(make(variant), policy)

    straight = GaussianPolicy()
    train(engine_of(straight), epochs=3)
    first, second = GaussianPolicy(), GaussianPolicy()
    before = engine_of(first)
    train(before, epochs=1)
    state = {
        name: tensor.clone() for name, tensor in carried_state(before.method, first.weights, before.reward).items()
    }
    after = engine_of(second)
    second.weights.set(first.weights.copy())
    after.optimizer.load_state_dict(before.optimizer.state_dict())
    restore_carried_state(after.method, second.weights, after.reward, state)
    train(after, epochs=2, first=1)
    assert torch.equal(second.offset, straight.offset)
