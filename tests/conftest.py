"""Shared fixtures."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    """Tests that draw from torch's global generator draw the same numbers every time, in any order."""
    torch.manual_seed(0)
