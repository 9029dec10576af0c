"""What is not finite never becomes part of a run."""

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.errors import ConfigError, FdfoError
from tests.nightly import at_night
from tests.training.runs import adapter, run

ABSURD = (
    ("optim.lr=1e38", "optim.lr"),
    ("optim.lr=1e-30", "optim.lr"),
    ("optim.weight_decay=1e308", "optim.weight_decay"),
    ("optim.betas=[0.9,0.9999999999999999]", "optim.betas.1"),
    ("optim.max_grad_norm=1e308", "optim.max_grad_norm"),
    ("optim.max_grad_norm=1e-300", "optim.max_grad_norm"),
    ("optim.ema=0.9999999999999999", "optim.ema"),
)


@pytest.mark.parametrize(("override", "key"), ABSURD)
def test_absurd_settings_are_refused(override, key):
    with pytest.raises(ConfigError, match=rf"{key}: input should be "):
        load_config("shapes-smoke", [override])


def test_a_step_that_turns_the_weights_around_is_refused():
    with pytest.raises(ConfigError, match=r"weight_decay=200: with optim\.lr=0\.01 .* use less than 100"):
        load_config("shapes-smoke", ["optim.lr=0.01", "optim.weight_decay=200"])
    load_config("shapes-smoke", ["optim.lr=0.01", "optim.weight_decay=90"])


def in_weights(optimizer):
    optimizer.param_groups[0]["params"][3].data[0, 0] = float("nan")


def in_moments(optimizer):
    optimizer.state[optimizer.param_groups[0]["params"][5]]["exp_avg_sq"][0, 0] = float("inf")


@pytest.mark.parametrize(
    ("damage", "told"),
    [(in_weights, r"lora_[AB]\S* not"), at_night(in_moments, "exp_avg_sq not")],
)
def test_a_step_that_makes_something_not_finite_stops_the_run_unsaved(tmp_path, monkeypatch, capsys, damage, told):
    steps = 0
    step = torch.optim.AdamW.step

    def broken(self, *arguments):
        nonlocal steps
        step(self, *arguments)
        steps += 1
        if steps == 5:  # the second of three in the second epoch
            damage(self)

    settings = ("train.epochs=2", "train.checkpoint_every=1")
    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", broken)
        with pytest.raises(FdfoError, match=rf"update 5 made .*{told} finite, and is not saved.* lower optim\.lr"):
            run(tmp_path / "run", *settings)
    assert "saved after epoch 1" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("epoch-*")] == ["epoch-0000001"]
    run(tmp_path / "run", *settings)
    assert all(bool(tensor.isfinite().all()) for tensor in adapter(tmp_path / "run", 2).values())
