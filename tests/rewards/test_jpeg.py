"""JPEG size against Pillow, and what it prefers."""

from io import BytesIO

import pytest
import torch
from PIL import Image

from fdfo.errors import RewardError
from fdfo.rewards.jpeg import JpegSize


def flat_and_noise() -> torch.Tensor:
    return torch.stack([torch.full((3, 40, 24), 0.5), torch.rand(3, 40, 24)])


def test_score_is_the_size_of_the_file_in_kilobytes():
    images = flat_and_noise()
    scores = JpegSize(quality=80, sign="incompressible")(images, ["a", "b"], [{}, {}])
    for image, score in zip(images, scores, strict=True):
        buffer = BytesIO()
        levels = (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(levels).save(buffer, "JPEG", quality=80)
        assert score.item() == pytest.approx(len(buffer.getvalue()) / 1000, rel=1e-6)
    assert scores.dtype == torch.float32


def test_signs_are_opposite_and_compressible_is_the_default():
    images = flat_and_noise()
    compressible = JpegSize()(images, ["a", "b"], [{}, {}])
    incompressible = JpegSize(sign="incompressible")(images, ["a", "b"], [{}, {}])
    assert torch.equal(compressible, -incompressible)
    assert compressible[0] > compressible[1]


@pytest.mark.parametrize("quality", [0, 101, 50.5, "high"])
def test_options_are_checked_together(quality):
    with pytest.raises(RewardError, match=r"quality must be .* got .*sign must be one of compressible, incompressible"):
        JpegSize(quality=quality, sign="small")
