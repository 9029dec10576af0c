"""LAION's aesthetic heads on a tiny CLIP."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fdfo.errors import RewardError
from fdfo.rewards.aesthetic import Aesthetic
from tests.rewards.tiny_clip import SIDE, make_clip, pictures

WIDTH = 8  # of the tiny CLIP's embedding


class PublishedMlp(nn.Module):
    """The predictor as its authors define it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, 6), nn.Dropout(0.2), nn.Linear(6, 5), nn.Dropout(0.2), nn.Linear(5, 4), nn.Linear(4, 1)
        )

    def forward(self, rows):
        return self.layers(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def loaded(folder, head_folder, file):
    reward = Aesthetic(model=folder, head=str(head_folder), head_file=file)
    reward.load("cpu", torch.float32)
    return reward


@pytest.mark.parametrize("file", ["head.pth", "head.safetensors"])
def test_score_is_that_of_the_authors_network(folder, tmp_path, file):
    mlp = PublishedMlp().eval()
    save = save_file if file.endswith("safetensors") else torch.save
    save(mlp.state_dict(), tmp_path / file)
    reward, images = loaded(folder, tmp_path, file), pictures(3, 40, 30)
    features = reward.image_features(images)
    with torch.no_grad():
        expected = mlp(features / features.norm(dim=1, keepdim=True)).squeeze(1)
    actual = reward(images, ["a"] * 3, [{}] * 3)
    assert (actual.dtype, actual.shape) == (torch.float32, (3,))
    torch.testing.assert_close(actual, expected)
    assert torch.equal(actual, reward(images, ["other", "", "words"], [{}] * 3))


def test_linear_head_and_its_gradient(folder, tmp_path):
    head = nn.Linear(WIDTH, 1)
    torch.save(head.state_dict(), tmp_path / "linear.pth")
    reward = loaded(folder, tmp_path, "linear.pth")
    images = pictures(2, SIDE, SIDE).requires_grad_()
    reward(images, ["", ""], [{}] * 2).sum().backward()
    step = 1e-2 * images.grad / images.grad.norm()
    with torch.no_grad():
        ends = [reward(images + sign * step, ["", ""], [{}] * 2).sum() for sign in (1, -1)]
    slope = (ends[0] - ends[1]).item() / 2e-2
    assert slope == pytest.approx(images.grad.norm().item(), rel=5e-2)  # float32 error of a small difference


@pytest.mark.parametrize(
    ("tensors", "fragment"),
    [
        ({"scale": torch.ones(1)}, "no chain of affine maps: it holds scale"),
        ({"weight": torch.ones(2, WIDTH), "bias": torch.ones(2)}, "to one number"),
    ],
)
def test_other_heads_are_refused(folder, tmp_path, tensors, fragment):
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(RewardError, match=f"reward 'aesthetic', model .*{fragment}"):
        loaded(folder, tmp_path, "odd.safetensors")


def test_missing_head_names_the_fix(folder, tmp_path):
    with pytest.raises(RewardError, match=r"aesthetic.*cannot be loaded"):
        loaded(folder, tmp_path, "gone.pth")
