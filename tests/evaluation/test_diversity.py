"""Diversity is the mean squared distance of all pairs."""

from itertools import combinations

import torch
from torch.testing import assert_close

from fdfo.evaluation.diversity import diversity, pixel_features, unit_features


def test_equals_the_mean_over_pairs():
    features = torch.randn(6, 5, dtype=torch.float64)
    expected = [
        torch.stack([(a - b).square().sum() for a, b in combinations(group, 2)]).mean() for group in features.split(3)
    ]
    assert_close(diversity(features, 3), torch.stack(expected))


def test_equal_images_have_none():
    assert_close(diversity(torch.randn(1, 4).expand(4, 4), 2), torch.zeros(2))


def test_features_have_unit_length():
    features = unit_features(pixel_features, torch.rand(3, 3, 40, 32))
    assert features.shape == (3, 192)
    assert_close(features.norm(dim=1), torch.ones(3))
