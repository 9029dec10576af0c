"""Standardised components: running moments, and what is trained on."""

import pytest
import torch

from fdfo.config.tree import RewardConfig
from fdfo.rewards import WeightedSum
from fdfo.rewards.moments import RunningMoments


def values(seed, count=50):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)) * 3 + 1000


@pytest.fixture
def rewards():
    """a is standardised, b is not."""
    entries = [
        RewardConfig(name="jpeg", label="a", weight=2.0, standardize=True),
        RewardConfig(name="jpeg", label="b", weight=0.5),
    ]
    return WeightedSum(entries)


def test_pieces_give_the_moments_of_the_whole():
    moments, pieces = RunningMoments(["a"]), [values(0, 7), values(1, 1), values(2, 30)]
    for piece in pieces:
        moments.observe({"a": piece})
    whole = torch.cat(pieces).double()
    expected = (whole - whole.mean()) / whole.std(correction=0)
    torch.testing.assert_close(moments.standardized("a", whole), expected, rtol=1e-9, atol=1e-9)


def test_failed_scores_do_not_count():
    with_failures, without = RunningMoments(["a"]), RunningMoments(["a"])
    with_failures.observe({"a": torch.tensor([1.0, float("nan"), 3.0])})
    with_failures.observe({"a": torch.tensor([float("nan")])})
    without.observe({"a": torch.tensor([1.0, 3.0])})
    assert torch.equal(with_failures.state()["a"], without.state()["a"])
    assert with_failures.standardized("a", torch.tensor([float("nan")])).isnan()


@pytest.mark.parametrize("seen", [[], [[5.0]], [[5.0, 5.0], [5.0]]], ids=["nothing", "one", "constant"])
def test_scores_stay_as_they_are_until_they_vary(seen):
    moments = RunningMoments(["a"])
    for piece in seen:
        moments.observe({"a": torch.tensor(piece)})
    assert moments.standardized("a", torch.tensor([5.0, 7.0])).tolist() == [5, 7]


def test_only_what_asks_for_it_is_standardised(rewards):
    components = {"a": values(0), "b": values(1)}
    rewards.observe(components)
    a = (components["a"] - components["a"].mean()) / components["a"].std(correction=0)
    torch.testing.assert_close(
        rewards.standardized_total(components), 2 * a + 0.5 * components["b"], rtol=1e-5, atol=1e-3
    )
    torch.testing.assert_close(rewards.total(components), 2 * components["a"] + 0.5 * components["b"])
    plain = WeightedSum([RewardConfig(name="jpeg", label="b")])
    plain.observe(components)
    assert torch.equal(plain.standardized_total(components), plain.total(components))
    assert plain.state() == {}


def test_calling_it_gives_what_is_trained_on(rewards):
    rewards.load(torch.device("cpu"), torch.float32)
    args = torch.rand(3, 3, 8, 8), ["p"] * 3, [{}] * 3
    components = rewards.components(*args)
    assert torch.equal(rewards(*args), rewards.total(components))  # nothing was observed
    rewards.observe(components)
    assert torch.equal(rewards(*args), rewards.standardized_total(components))
    assert not torch.equal(rewards(*args), rewards.total(components))


def test_a_restored_state_goes_on_as_if_undisturbed(rewards):
    from safetensors.torch import load, save

    rewards.observe({"a": values(0), "b": values(1)})
    saved = load(save(rewards.state()))
    rewards.observe({"a": values(2), "b": values(3)})
    again = WeightedSum(
        [
            RewardConfig(name="jpeg", label="a", weight=2.0, standardize=True),
            RewardConfig(name="jpeg", label="b", weight=0.5),
        ]
    )
    again.restore(saved)
    again.observe({"a": values(2), "b": values(3)})
    assert torch.equal(rewards.state()["a"], again.state()["a"])
