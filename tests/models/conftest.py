"""The embedded pipeline as diffusers loads it, and as a policy."""

import pytest

from fdfo.models import load_policy
from fdfo.models.source import EMBEDDED, ModelSource


@pytest.fixture(scope="session")
def folder():
    assert "shapes" in EMBEDDED
    return ModelSource.find("shapes").location


@pytest.fixture(scope="session")
def pipeline(folder):
    import torch
    from diffusers import StableDiffusion3Pipeline

    pipe = StableDiffusion3Pipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def policy():
    return load_policy("shapes")
