"""Training on from other weights, and the learning rate of every step."""

import math

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from fdfo.config.load import load_config
from fdfo.config.tree import AdapterConfig
from fdfo.errors import ConfigError, ModelError
from fdfo.evaluation.runs import read_events
from fdfo.models import load_policy
from fdfo.models.lora_files import ADAPTER_FILE
from fdfo.training.loop import train
from fdfo.training.schedule import learning_rate
from tests.training.runs import TINY

LR, EPOCHS, UPDATES, WARMUP = 1e-3, 5, 2, 3


def scheduled(schedule, *more):
    return load_config(
        "shapes-smoke",
        [
            f"optim.schedule={schedule}",
            f"optim.lr={LR}",
            f"train.epochs={EPOCHS}",
            f"optim.updates_per_epoch={UPDATES}",
            f"optim.warmup={WARMUP}",
            *more,
        ],
    )


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [("constant", lambda p: 1.0), ("linear", lambda p: 1 - p), ("cosine", lambda p: math.cos(math.pi * p / 2) ** 2)],
)
def test_the_learning_rate_has_a_closed_form(schedule, factor):
    total = EPOCHS * UPDATES
    expected = [LR / 3, LR * 2 / 3, LR] + [LR * factor((n - WARMUP) / (total - WARMUP)) for n in range(WARMUP, total)]
    assert [learning_rate(scheduled(schedule), n) for n in range(total)] == pytest.approx(expected)


def test_a_warmup_as_long_as_the_run_is_refused():
    with pytest.raises(ConfigError, match=r"optim.warmup=10: the run has 10 optimizer steps .*; use at most 9"):
        scheduled("cosine", "optim.warmup=10")


def changed(kind="lora", rank=2):
    """A policy whose adapter does something."""
    policy = load_policy("shapes", adapter=AdapterConfig(kind=kind, rank=rank, alpha=6))
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.02)
    return policy


def velocity(policy, weights="current"):
    x = torch.randn(1, *policy.latent_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return policy.velocity(x, 0.5, policy.encode(["a red circle"]), weights=weights)


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A LoRA file of diffusers, and what the model does with it."""
    folder = tmp_path_factory.mktemp("lora")
    policy = changed()
    policy.save_lora(folder)
    return folder / "pytorch_lora_weights.safetensors", velocity(policy)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_base_is_the_start_and_a_checkpoint_is_whole_without_it(lora, tmp_path, kind):
    file, expected = lora
    policy = load_policy("shapes", adapter=AdapterConfig(kind=kind), start=file)
    assert_close(velocity(policy), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.01)
    assert_close(velocity(policy, "base"), expected, rtol=1e-4, atol=1e-5)
    policy.weights.save(tmp_path)
    now = velocity(policy)
    assert float((now - expected).abs().max()) > 1e-3
    assert_close(velocity(load_policy("shapes", adapter=tmp_path)), now, rtol=1e-4, atol=1e-5)
    again = load_policy("shapes", adapter=tmp_path, start=file)
    assert_close(velocity(again), now, rtol=1e-4, atol=1e-5)
    assert_close(velocity(again, "base"), expected, rtol=1e-4, atol=1e-5)


def test_all_weights_are_no_start_for_a_lora(tmp_path):
    changed("full").weights.save(tmp_path)
    with pytest.raises(ModelError, match=r"it holds all weights; set policy.adapter.kind=full, or export"):
        load_policy("shapes", adapter=AdapterConfig(), start=tmp_path)


@pytest.mark.slow
def test_a_run_trains_on_from_a_run_exactly_and_refuses_another_start(lora, tmp_path):
    """What is done again after a lost checkpoint, with a schedule, comes to the same weights."""
    settings = (*TINY, "optim.schedule=cosine", "optim.warmup=1", "train.checkpoint_every=1")
    first = load_config("shapes-smoke", [*settings, f"policy.adapter.start={lora[0]}", "train.epochs=1"])
    train(first, tmp_path / "first")
    rates = [event["learning_rate"] for event in read_events(tmp_path / "first") if event["event"] == "update"]
    assert rates == pytest.approx([first.optim.lr, first.optim.lr, first.optim.lr / 2])

    folder = tmp_path / "second"
    config = load_config("shapes-smoke", [*settings, f"policy.adapter.start={tmp_path / 'first'}", "train.epochs=2"])
    train(config, folder)
    last = folder / "checkpoints" / "epoch-0000002"
    undisturbed = load_file(last / ADAPTER_FILE)
    (last / "complete.json").unlink()
    train(config, folder)
    again = load_file(last / ADAPTER_FILE)
    assert undisturbed.keys() == again.keys()
    assert all(torch.equal(undisturbed[name], again[name]) for name in again)

    start = tmp_path / "first" / "checkpoints" / "epoch-0000001"
    (start / "ema.safetensors").unlink(missing_ok=True)
    (tmp_path / "first" / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="first"):
        train(config, folder)


def test_a_start_that_is_nowhere_is_told_before_anything_is_loaded(tmp_path):
    with pytest.raises(ConfigError, match="no such file or folder"):
        train(load_config("shapes-smoke", [*TINY, "policy.adapter.start=gone"]), tmp_path / "run")
