"""KID and FID of kept images against their formulas."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm

from fdfo.errors import ConfigError
from fdfo.evaluation.distance import distances

COUNT = 24
CPU = torch.device("cpu")


def colors(images):
    """Mean colour: [B, 3]."""
    return images.mean((2, 3))


@pytest.fixture
def folders(tmp_path):
    """Two folders of images of one colour each, and those colours."""
    values = {}
    for name, shift in (("base", 0), ("other", 40)):
        levels = np.random.default_rng(shift).integers(20, 180, size=(COUNT, 3)).astype(np.uint8) + shift
        (tmp_path / name).mkdir()
        for index, level in enumerate(levels.astype(np.uint8)):
            Image.new("RGB", (8, 8), tuple(level.tolist())).save(tmp_path / name / f"{index:05d}-0.png")
        values[name] = levels / 255
    return tmp_path / "base", tmp_path / "other", values["base"], values["other"]


def kernel_distance(x, y):
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    n = len(x)
    own = sum((kernel(a, a).sum() - np.trace(kernel(a, a))) / (n * (n - 1)) for a in (x, y))
    return own - 2 * kernel(x, y).mean()


def test_both_distances_equal_their_formulas(folders):
    base, other, x, y = folders
    (found,) = distances(base, [other], colors, CPU)
    assert found.images == COUNT
    assert found.kid == pytest.approx(kernel_distance(x, y), rel=1e-3)  # all images are the only subset
    covariances = [np.cov(a, rowvar=False) for a in (x, y)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    assert found.fid == pytest.approx(
        ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sum(covariances) - 2 * root), rel=1e-3
    )
    assert [found] == distances(base, [other], colors, CPU)


def test_images_are_at_no_distance_to_themselves(folders):
    base = folders[0]
    (found,) = distances(base, [base], colors, CPU)
    assert found.fid == pytest.approx(0, abs=1e-6)
    assert found.kid == pytest.approx(kernel_distance(folders[2], folders[2]), abs=1e-5)


def test_each_of_several_is_measured_alone(folders):
    base, other, _, _ = folders
    together = distances(base, [other, base, other], colors, CPU)
    assert together == [distances(base, [one], colors, CPU)[0] for one in (other, base, other)]


def test_only_subsets_that_differ_have_a_spread(folders, monkeypatch):
    base, other, _, _ = folders
    for subset, has_spread in ((COUNT, False), (COUNT - 1, True)):
        monkeypatch.setattr("fdfo.evaluation.distance.SUBSET", subset)
        assert (distances(base, [other], colors, CPU)[0].kid_std is not None) == has_spread


def test_images_of_other_prompts_are_refused(folders):
    base, other, _, _ = folders
    (other / f"{0:05d}-0.png").unlink()
    with pytest.raises(ConfigError, match="does not hold the same images"):
        distances(base, [other], colors, CPU)


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least 2 images of each, found 0"):
        distances(tmp_path / "none", [tmp_path / "neither"], colors, CPU)
