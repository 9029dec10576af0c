"""Preprocessing in torch against transformers' own image processor, which works with Pillow."""

import pytest
import torch
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
