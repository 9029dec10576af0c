"""Neatness: how much of a picture a clean drawing of its own objects explains."""

import numpy as np
import pytest
import torch

from fdfo.errors import RewardError
from fdfo.shapes import parse
from fdfo.shapes.neatness import neatness, redraw
from fdfo.shapes.pretrain.mistakes import bad_picture
from fdfo.shapes.render import render
from fdfo.shapes.rewards import ShapesNeatness
from fdfo.shapes.sampling import sample_scene
from fdfo.shapes.scene import BACKGROUND, CATEGORIES, Object, Scene
from fdfo.shapes.splits import captions

CAPTIONS = [item.text for name in CATEGORIES for item in captions("train", name)[:20]]
RED_CIRCLE = Object(shape="circle", color="red", x=9, y=16, radius=6)
BLANK = np.broadcast_to(np.array(BACKGROUND, np.float32)[:, None, None], (3, 32, 32))


@pytest.mark.parametrize("magnification", [1, 2])
def test_a_clean_picture_is_redrawn_as_it_is(magnification):
    image = render(Scene(objects=(RED_CIRCLE,)), magnification=magnification)
    np.testing.assert_allclose(redraw(image), image, atol=0.02)
    assert neatness(image) > 0.999


@pytest.mark.parametrize("magnification", [1, 2])
def test_true_pictures_are_neat_and_spoilt_ones_are_not(magnification):
    rng = np.random.default_rng(0)
    clean = [neatness(render(sample_scene(parse(text), rng), rng, magnification)) for text in CAPTIONS]
    spoilt = [neatness(bad_picture(parse(text), rng, magnification)) for text in CAPTIONS]
    assert min(clean) > 0.99
    assert np.mean(spoilt) < 0.75
    assert max(spoilt) <= 1


@pytest.mark.parametrize("strength", [0.03, 0.1, 0.3])
def test_noise_is_the_share_that_is_missed(strength):
    """Noise of variance s^2 on every value leaves 1 - N s^2 / (signal + N s^2), while the objects are still found."""
    image = render(Scene(objects=(RED_CIRCLE,)))
    noise = strength * np.random.default_rng(1).standard_normal(image.shape).astype(np.float32)
    signal, missed = ((image - BLANK) ** 2).sum(), (noise**2).sum()
    assert neatness(image + noise) == pytest.approx(1 - missed / (signal + missed), abs=0.03)


def test_a_picture_without_objects_is_not_neat():
    assert neatness(BLANK) == 0
    assert neatness(np.zeros((3, 32, 32), np.float32)) == 0


def test_as_a_reward():
    images = torch.from_numpy(np.stack([render(Scene(objects=(RED_CIRCLE,))), BLANK, np.full_like(BLANK, np.nan)]))
    reward = ShapesNeatness()
    scores = reward(images, ["a blue square", "no caption of the grammar", "a circle"], [None] * 3)
    torch.testing.assert_close(scores, torch.tensor([1, 0, float("nan")]), equal_nan=True, atol=1e-3, rtol=0)
    assert not reward.differentiable
    with pytest.raises(
        RewardError, match=r"shapes-neatness: .* \[3, 32, 32\] or a whole multiple .* got \[3, 16, 16\]"
    ):
        reward(torch.zeros(1, 3, 16, 16), ["a circle"], [None])
