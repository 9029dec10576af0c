"""Sharpness is the contrast of the finest details."""

import torch
from torch.testing import assert_close

from fdfo.evaluation.sharpness import sharpness


def test_of_a_checkerboard_in_closed_form():
    board = (
        torch.arange(8)[:, None] + torch.arange(8)
    ) % 2  # a pixel's neighbourhood holds 5 of its own kind, 4 others
    images = board.float().expand(2, 3, 8, 8) * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)
    assert_close(sharpness(images), torch.tensor([4 / 9, 2 / 9]))


def test_flat_pictures_and_smooth_ramps_have_none():
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    assert_close(sharpness(torch.cat([torch.full_like(ramp, 0.3), ramp])), torch.zeros(2), atol=1e-6, rtol=0)
