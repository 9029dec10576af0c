"""Log ratio and SPO: closed forms, optimum, and digits at tiny gaps."""

import math

import pytest
import torch
from torch.testing import assert_close

from fdfo.objectives.difference import mean_square
from fdfo.objectives.penalty import velocity_distance
from fdfo.objectives.surrogate import clipped, spo, velocity_log_ratio

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
