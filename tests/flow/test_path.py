"""The straight path and its conversions invert each other (float64)."""

import torch
from torch.testing import assert_close

from fdfo.flow.path import clean_to_velocity, interpolate, velocity_to_clean, velocity_to_noise


def test_clean_and_noise_are_recovered_from_state_and_velocity():
    x0, eps = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64)
    for t in (0.3, torch.tensor(0.3), torch.rand(5, dtype=torch.float64)):
        x, v = interpolate(x0, eps, t), eps - x0
        assert_close(velocity_to_clean(x, v, t), x0)
        assert_close(velocity_to_noise(x, v, t), eps)
        assert_close(clean_to_velocity(x, x0, t), v)
