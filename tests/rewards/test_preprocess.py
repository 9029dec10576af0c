"""Preprocessing in torch against transformers' own image processor, which works with Pillow."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from fdfo.rewards.preprocess import ClipPreprocess
from tests.rewards.tiny_clip import SIDE, as_levels, pictures

PROCESSORS = {
    "edge and crop": {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}},
    "fixed size": {"size": {"height": SIDE, "width": 16}, "do_center_crop": False},
    "crop that fills": {"size": {"shortest_edge": 19}, "crop_size": {"height": 30, "width": 21}},
    "odd crop": {"size": {"height": 31, "width": 28}, "crop_size": {"height": SIDE, "width": 19}},
    "bilinear": {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}, "resample": 2},
    "other norm": {"size": {"height": 8, "width": 8}, "do_center_crop": False, "image_mean": [0.5, 0.4, 0.3]},
    "no norm": {"size": {"height": 8, "width": 8}, "do_center_crop": False, "do_normalize": False},
}


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("options", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize("size", [(SIDE, SIDE), (16, 16), (120, 120), (64, 48), (37, 91)], ids=str)
def test_preprocessing_is_that_of_transformers(size, options, extreme):
    images = pictures(4, *size, extreme=extreme)
    theirs = CLIPImageProcessorPil(**options)
    expected = torch.stack([torch.as_tensor(x) for x in theirs(as_levels(images), return_tensors="pt").pixel_values])
    ours = ClipPreprocess.from_config(theirs.to_dict())
    std = torch.tensor(ours.std).view(3, 1, 1)
    # Pillow rounds twice: 1/2 level times the largest sum of absolute weights (1.25), plus 1/2 level.
    assert ((ours(images) - expected) * std).abs().max() < 1.13 / 255


CROPPING = ClipPreprocess(resize=SIDE, size=(SIDE, SIDE), mode="bicubic", mean=(0.0,) * 3, std=(1.0,) * 3)
WHOLE = replace(CROPPING, whole=True)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(
    ("size", "inside", "corner"),  # height and width; those of the picture inside; its top and left
    [
        ((64, 48), (24, 18), (0, 3)),
        ((48, 64), (18, 24), (3, 0)),
        ((35, 91), (9, 24), (7, 0)),  # 15 rows are black: 7 above, 8 below
        ((91, 35), (24, 9), (0, 7)),  # 15 columns are black: 7 left, 8 right, and Pillow would take the height first
        ((9, 16), (14, 24), (5, 0)),
        ((24, 10), (24, 10), (0, 7)),
    ],
    ids=str,
)
def test_the_whole_picture_is_shown_on_black(size, inside, corner, extreme):
    images = pictures(2, *size, extreme=extreme)
    shown = WHOLE(images)
    for image, actual in zip(as_levels(images), shown, strict=True):
        canvas = Image.new("RGB", (SIDE, SIDE))
        canvas.paste(in_two_passes(Image.fromarray(image), *inside), corner[::-1])
        expected = torch.from_numpy(np.array(canvas)).permute(2, 0, 1) / 255
        assert (actual - expected).abs().max() < 1.13 / 255


def in_two_passes(picture, height, width):
    """Along the width first, as older versions of Pillow do it in one call."""
    bicubic = Image.Resampling.BICUBIC
    return picture.resize((width, picture.height), bicubic).resize((width, height), bicubic)


def test_black_is_black_before_it_is_normalised():
    normalising = replace(WHOLE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    left_above = normalising(pictures(1, 64, 48))[0, :, 0, 0]
    torch.testing.assert_close(left_above, torch.tensor([-0.5 / 0.2, -0.4 / 0.3, -0.3 / 0.4]))


def test_square_pictures_look_the_same_whole_and_cropped():
    for side in (8, SIDE, 100):
        assert torch.equal(WHOLE(pictures(1, side, side)), CROPPING(pictures(1, side, side)))


def test_every_pixel_of_the_whole_picture_has_a_gradient():
    images = pictures(1, 37, 91).requires_grad_()
    (gradient,) = torch.autograd.grad(WHOLE(images).sum(), images)
    assert bool((gradient.abs() > 0).float().mean() > 0.99)
    assert bool((torch.autograd.grad(CROPPING(images).sum(), images)[0][..., 0] == 0).all())


def test_old_processor_files_have_plain_numbers():
    old = {"size": 30, "crop_size": SIDE, "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3}
    new = {"size": {"shortest_edge": 30}, "crop_size": {"height": SIDE, "width": SIDE}}
    assert ClipPreprocess.from_config(old) == ClipPreprocess.from_config(new)


@pytest.mark.parametrize(
    "config",
    [
        {"size": {"shortest_edge": 30}, "do_center_crop": False},
        {"size": {"longest_edge": 30}},
        {"do_resize": False},
        {"resample": 0},
    ],
)
def test_processors_that_do_something_else_are_refused(config):
    with pytest.raises(ValueError, match="accepted"):
        ClipPreprocess.from_config(config)
