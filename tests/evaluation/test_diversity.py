"""Diversity is the mean squared distance of all pairs."""

import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from torch.testing import assert_close

from fdfo.errors import ConfigError
from fdfo.evaluation import features as features_module
from fdfo.evaluation.diversity import diversity
from fdfo.evaluation.features import diversity_features, load_features, pixel_features


def test_equals_the_mean_over_pairs():
    features = torch.randn(6, 5, dtype=torch.float64)
    expected = [
        torch.stack([(a - b).square().sum() for a, b in combinations(group, 2)]).mean() for group in features.split(3)
    ]
    assert_close(diversity(features, 3), torch.stack(expected))


def test_equal_images_have_none():
    assert_close(diversity(torch.randn(1, 4).expand(4, 4), 2), torch.zeros(2))


def test_features_have_unit_length():
    features = pixel_features(torch.rand(3, 3, 40, 32))
    assert features.shape == (3, 192)
    assert_close(features.norm(dim=1), torch.ones(3))


def test_features_by_name():
    images = torch.rand(2, 3, 4, 4)
    embedders = {"embedding": lambda images: 3 * images.flatten(1)}
    assert diversity_features("pixels", embedders) is diversity_features(None, {}) is pixel_features
    for choice in (None, "embedding"):
        features = diversity_features(choice, embedders)(images)
        assert_close(features.norm(dim=1), torch.ones(2))
        assert_close(features * images.flatten(1).norm(dim=1, keepdim=True), images.flatten(1))
    with pytest.raises(ConfigError, match="did you mean 'embedding'"):
        diversity_features("embeding", embedders)


def test_dreamsim_sees_whole_images_at_its_size_and_keeps_its_weights_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []

    class Model:
        def embed(self, images):
            seen.append(images)
            return images.mean((2, 3)).repeat(1, 2)[None]

    def dreamsim(pretrained, device, cache_dir, normalize_embeds):
        assert (pretrained, device, normalize_embeds) == (True, "cpu", True)
        assert cache_dir == str(tmp_path / "cache" / "fdfo" / "dreamsim") and Path(cache_dir).is_dir()
        return Model(), None

    monkeypatch.setitem(sys.modules, "dreamsim", SimpleNamespace(dreamsim=dreamsim))
    images = torch.rand(3, 3, 32, 48)
    features = diversity_features("dreamsim", {})
    load_features(features, torch.device("cpu"))
    embedded = features(images)
    assert seen[0].shape == (3, 3, 224, 224)
    torch.testing.assert_close(embedded, images.mean((2, 3)).repeat(1, 2), atol=0.02, rtol=0)

    seen.clear()
    monkeypatch.setattr(features_module, "EMBEDDED", 2)
    torch.testing.assert_close(features(images), embedded)
    assert [len(part) for part in seen] == [2, 1]


def test_dreamsim_takes_images_that_wait_in_host_memory_to_its_device(monkeypatch):
    class Model:
        def embed(self, images):
            assert images.device.type == "meta"
            return images.mean((2, 3))

    monkeypatch.setitem(sys.modules, "dreamsim", SimpleNamespace(dreamsim=lambda **_: (Model(), None)))
    features = diversity_features("dreamsim", {})
    load_features(features, torch.device("meta"))
    assert features(torch.rand(3, 3, 32, 32)).shape == (3, 3)


def test_dreamsim_that_cannot_be_fetched_is_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def dreamsim(**_):
        raise URLError("no route to host")

    monkeypatch.setitem(sys.modules, "dreamsim", SimpleNamespace(dreamsim=dreamsim))
    with pytest.raises(ConfigError, match=r"cannot load its weights: .*no route to host"):
        load_features(diversity_features("dreamsim", {}), torch.device("cpu"))


def test_dreamsim_that_is_not_installed_is_explained_before_there_are_images(monkeypatch):
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(ConfigError, match=r"needs dreamsim .*; install it: .* -m pip install dreamsim"):
        diversity_features("dreamsim", {})
