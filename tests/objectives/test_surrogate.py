"""Log ratio and SPO: closed forms, optimum, and digits at tiny gaps."""

import math

import pytest
import torch
from torch.testing import assert_close

from fdfo.objectives.difference import mean_square
from fdfo.objectives.penalty import velocity_distance
from fdfo.objectives.surrogate import bounded_spo, clipped, spo, velocity_log_ratio

SHAPE = (4, 2, 3, 3)


def test_log_ratio_equals_its_definition():
    v, v_ref, direction = torch.randn(3, *SHAPE, dtype=torch.float64)
    target = v_ref - direction
    assert_close(velocity_log_ratio(v, v_ref, direction), -mean_square(v - target) + mean_square(v_ref - target))


@pytest.mark.parametrize("gap_square", [1e-2, 1e-6, 1e-10])
def test_log_ratio_keeps_its_digits_in_float32(gap_square):
    """direction = gap / mean(gap^2) is large at small gaps; the literal difference of squares is then off by 2 %."""
    torch.manual_seed(0)
    direction = torch.randn(*SHAPE, dtype=torch.float64) / math.sqrt(gap_square)
    v_ref = torch.randn(*SHAPE, dtype=torch.float64)
    v = v_ref + 1e-2 * math.sqrt(gap_square) * torch.randn(*SHAPE, dtype=torch.float64)
    v32, ref32, direction32 = v.float(), v_ref.float(), direction.float()
    exact = velocity_log_ratio(v32.double(), ref32.double(), direction32.double())
    assert_close(velocity_log_ratio(v32, ref32, direction32).double(), exact, rtol=3e-6, atol=1e-9)


def test_gradient_at_the_recorded_velocity():
    """At v = v_ref the ratio is 1 and d loss / d v = 2 slope direction / D."""
    v_ref, direction = torch.randn(2, *SHAPE, dtype=torch.float64)
    slope = torch.randn(4, dtype=torch.float64)
    v = v_ref.clone().requires_grad_()
    losses = spo(velocity_log_ratio(v, v_ref, direction), slope)
    assert_close(losses.detach(), -slope)
    (gradient,) = torch.autograd.grad(losses.sum(), v)
    elements = v[0].numel()
    assert_close(gradient, 2 * slope.reshape(-1, 1, 1, 1) * direction / elements)


@pytest.mark.parametrize("slope", [2.0, -0.3])
def test_optimum_is_at_the_edge_of_the_trust_region(slope):
    clip = 0.03
    log_ratio = torch.tensor([math.log(1 + clip * math.copysign(1, slope))], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(spo(log_ratio, torch.tensor([slope], dtype=torch.float64), clip).sum(), log_ratio)
    assert_close(gradient, torch.zeros(1, dtype=torch.float64), rtol=0, atol=1e-12)


def test_spo_equals_its_formula():
    log_ratio, slope = torch.randn(2, 7, dtype=torch.float64) * 0.1
    ratio = log_ratio.exp()
    assert_close(spo(log_ratio, slope, 0.1), -slope * ratio + slope.abs() * (ratio - 1) ** 2 / 0.2)


def rows(v, v_ref, direction, slope, **settings):
    """Losses of the bounded surrogate at velocities."""
    log_ratio = velocity_log_ratio(v, v_ref, direction)
    return bounded_spo(log_ratio, slope, mean_square(direction), **settings)


def edges(clip, trusted):
    return trusted * math.log1p(-clip), trusted * math.log1p(clip)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("clip", "trusted"), [(0.03, 4.0), (0.2, 2.0), (0.99, 1.5)])
def test_the_bounded_surrogate_is_spo_to_the_last_digit_between_its_edges(clip, trusted, dtype):
    lower, upper = edges(clip, trusted)
    log_ratio = torch.linspace(lower * 0.999, upper * 0.999, 201, dtype=dtype, requires_grad=True)
    slope = torch.tensor([3.0, -0.7, 0.0] * 67, dtype=dtype)
    both = []
    for losses in (spo(log_ratio, slope, clip), bounded_spo(log_ratio, slope, torch.ones(201), clip, trusted)):
        both.append((losses, *torch.autograd.grad(losses.sum(), log_ratio)))
    assert torch.equal(both[0][0], both[1][0]) and torch.equal(both[0][1], both[1][1])


@pytest.mark.parametrize("slope", [2.0, -0.3])
@pytest.mark.parametrize("reach", [0.0, 25.0, 1e6])
def test_beyond_its_edges_the_surrogate_has_the_slope_of_the_edge(slope, reach):
    """Above linear in the log ratio, below in the distance sqrt(reach - log ratio), from SPO's own derivative there."""
    lower, upper = (torch.tensor(edge, dtype=torch.float64, requires_grad=True) for edge in edges(0.03, 4))
    s, a = torch.tensor(slope, dtype=torch.float64), torch.tensor(reach, dtype=torch.float64)
    far = torch.tensor([[upper.item() + 0.5, upper.item() + 784.0], [lower.item() - 0.5, -1e9]], dtype=torch.float64)
    for edge, log_ratios in ((upper, far[0]), (lower, far[1])):
        at_edge = spo(edge, s)
        (force,) = torch.autograd.grad(at_edge, edge)
        if edge is upper:
            expected = at_edge + force * (log_ratios - edge)
        else:
            start = (a - edge).sqrt()
            expected = at_edge + 2 * start * force * (start - (a - log_ratios).sqrt())
        assert_close(bounded_spo(log_ratios, s.expand(2), a.expand(2)), expected.detach(), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_the_force_on_a_velocity_points_back_and_is_bounded_however_far_it_is(slope):
    """Along the direction and across it, up to a million gaps away, in float32."""
    torch.manual_seed(0)
    direction = torch.randn(1, 2, 3, 3) / 0.05
    across = torch.randn_like(direction)
    across -= (across * direction).sum() / direction.square().sum() * direction
    s = torch.tensor([slope])
    start = (2 * s * direction / direction.numel()).norm()
    for line in (direction, -direction, across):
        for far in (1e-4, 1e-2, 1.0, 1e2, 1e6):
            v = (far * line * 0.05).requires_grad_()
            loss = rows(v, torch.zeros_like(v), direction, s)
            (force,) = torch.autograd.grad(loss.sum(), v)
            log_ratio = velocity_log_ratio(v, torch.zeros_like(v), direction)
            (rise,) = torch.autograd.grad(log_ratio.sum(), v)
            assert loss.isfinite().all() and force.isfinite().all()
            assert force.norm() < 6 * start
            outside = log_ratio - math.log1p(0.03 * slope)
            if abs(outside) > 1e-3:  # against the force, the log ratio goes back toward its optimum
                assert -float((force * rise).sum()) * outside < 0
            if log_ratio < edges(0.03, 4)[0]:
                assert force.norm() > start  # and does not die away, as SPO's does
    ran_away = torch.tensor([-30.0], requires_grad=True)
    (lost,) = torch.autograd.grad(spo(ran_away, s).sum(), ran_away)
    assert lost.abs() < 1e-10


@pytest.mark.parametrize("published", [False, True])
def test_a_row_comes_back_into_the_trust_region_from_either_side(published):
    """Gradient descent from log ratios of 16 and -16; in the published form these rows fly off, or do not move."""
    torch.manual_seed(0)
    direction = torch.randn(4, 1, 4, 4, dtype=torch.float64)
    direction *= 10 / mean_square(direction).sqrt().reshape(-1, 1, 1, 1)
    slope = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    moved = 1 - (1 - torch.tensor([16.0, 16.0, -16.0, -16.0], dtype=torch.float64) / 100).sqrt()
    v, v_ref = -moved.reshape(-1, 1, 1, 1) * direction, torch.zeros_like(direction)
    for _ in range(1000):
        v = v.detach().requires_grad_()
        log_ratio = velocity_log_ratio(v, v_ref, direction)
        losses = spo(log_ratio, slope) if published else bounded_spo(log_ratio, slope, mean_square(direction))
        (force,) = torch.autograd.grad(losses.sum(), v)
        v = v - 1e-3 * force
    ratio = velocity_log_ratio(v, v_ref, direction).exp()
    arrived = (ratio - 1 - 0.03 * slope).abs() < 1e-3
    assert arrived.tolist() == [not published] * 4


def test_optimal_displacement_is_one_and_a_half_percent_of_the_gap():
    """ratio = 1.03 along the direction: 2 rms(dv) rms(direction) = log 1.03, and rms(direction) = 1 / rms(gap)."""
    gap_rms = 0.2
    direction = torch.full(SHAPE, 1 / gap_rms, dtype=torch.float64)
    v_ref = torch.zeros(SHAPE, dtype=torch.float64)
    dv = -0.0149 * gap_rms * torch.ones(SHAPE, dtype=torch.float64)
    assert_close(
        velocity_log_ratio(v_ref + dv, v_ref, direction).exp(), torch.full((4,), 1.03).double(), rtol=3e-4, atol=0
    )


def test_velocity_distance_is_the_mean_square():
    v, v_base = torch.zeros(SHAPE), torch.full(SHAPE, 0.5)
    assert_close(velocity_distance(v, v_base), torch.full((4,), 0.25))


def test_clipping_stops_the_gain_and_never_the_correction():
    """Slope of the loss in the ratio: -A inside the range and where the ratio went the wrong way, 0 beyond it."""
    clip = 0.1
    log_ratio = torch.tensor([0.0, 0.05, 0.3, -0.3], dtype=torch.float64, requires_grad=True)
    for advantage, slopes in ((2.0, [-2, -2, 0, -2]), (-2.0, [2, 2, 2, 0])):
        losses = clipped(log_ratio, torch.full((4,), advantage).double(), clip)
        (gradient,) = torch.autograd.grad(losses.sum(), log_ratio)
        assert_close(gradient / log_ratio.detach().exp(), torch.tensor(slopes).double())
    assert_close(clipped(log_ratio, torch.full((4,), 2.0).double(), clip)[2].item(), -2.2)


def test_clipping_resolves_a_range_of_one_in_ten_thousand_in_float32():
    log_ratio = torch.tensor([0.99e-4, 1.01e-4], requires_grad=True)
    (gradient,) = torch.autograd.grad(clipped(log_ratio, torch.ones(2), 1e-4).sum(), log_ratio)
    assert (gradient != 0).tolist() == [True, False]
