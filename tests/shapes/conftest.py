"""Fixtures of the shapes tests."""

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from fdfo.shapes import PIPELINE


@pytest.fixture(scope="session")
def quiet():
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


@pytest.fixture(scope="session")
def pipeline(quiet):
    """The shipped pipeline, loaded the way a stranger would."""
    loaded = StableDiffusion3Pipeline.from_pretrained(PIPELINE)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def noise():
    """Starting latents for any number of pictures."""
    return lambda count, seed=0: torch.randn(count, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
