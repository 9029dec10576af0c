"""Every method in real runs: resuming, processes, and scores that it cannot use."""

import pytest
import torch
from safetensors.torch import load_file

from fdfo.config.load import load_config
from fdfo.errors import ConfigError
from fdfo.training.checkpoint import CARRIED_FILE
from fdfo.training.setup import check
from tests.training.forks import forked
from tests.training.runs import adapter, largest_difference, run

METHODS = {
    "flow_grpo": ("method.group_size=2", "method.steps=4"),
    "ddpo": ("method.buffer_size=2", "method.needed_scores=2", "method.steps=4"),
    "refl": ("optim.updates_per_epoch=1",),
    "draft": ("method.last_steps=2", "optim.updates_per_epoch=1"),
    "nft": ("method.group_size=2", "method.steps=4", "method.trained_times=3", "method.old_decay_rate=0.5"),
    "awm": (
        "method.group_size=2",
        "method.trained_times=3",
        "method.time_density=sampler",
        "method.on_policy=false",
        "method.average_decay_rate=0.2",
        "method.clip_range=0.5",
    ),
    "art": ("method.group_size=2",),
    "rvm": ("method.group_size=2", "method.trained_times=3"),
    "opsd": ("method.group_size=2", "optim.updates_per_epoch=1", "method.old_decay_rate=0.5"),
}


@pytest.fixture
def overrides(tmp_path):
    """Settings of a small run whose prompts come again every epoch, for running statistics."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(f"a {colour} circle" for colour in ("red", "green", "blue", "yellow", "white")))

    def of(method, *more):
        return (f"method.name={method}", *METHODS[method], f"prompts.path={path}", "eval.every=100", *more)

    return of


def same(first, second):
    a, b = adapter(first), adapter(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow  # what is carried from epoch to epoch, test_every_method.py shows for all by day
@pytest.mark.parametrize("method", METHODS)
def test_a_longer_run_continues_a_shorter_one(tmp_path, overrides, method):
    """Bit for bit; the second epoch needs what the first one left behind."""
    run(tmp_path / "in two", *overrides(method, "train.epochs=1"))
    run(tmp_path / "in two", *overrides(method, "train.epochs=2"))
    run(tmp_path / "in one", *overrides(method, "train.epochs=2"))
    assert same(tmp_path / "in two", tmp_path / "in one")
    before, after = (adapter(tmp_path / "in one", epoch) for epoch in (1, 2))
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ddpo", "nft"])
def test_two_processes_with_an_odd_number_of_prompts(tmp_path, overrides, method):
    """The methods whose state crosses epochs: running statistics of all scores, and an old policy."""
    settings = overrides(method, "optim.lr=1e-5", "train.epochs=2")
    alone = run(tmp_path / "one", *settings)
    assert forked(2, lambda rank: run(tmp_path / "two", *settings)) == [0, 0]
    assert largest_difference(tmp_path / "two", alone) < 3e-6  # six updates of at most 1e-5
    states = [load_file(tmp_path / name / "checkpoints/epoch-0000002" / CARRIED_FILE) for name in ("one", "two")]
    assert states[0].keys() == states[1].keys()
    for name, values in states[0].items():
        torch.testing.assert_close(states[1][name], values, rtol=0, atol=1e-4)  # scores of about 10, of such weights


@pytest.mark.parametrize("method", ["method.name=refl", "method.name=draft", "method.direction=score_gradient"])
def test_scores_without_a_gradient_are_refused_by_name_before_anything_loads(method):
    config = load_config("shapes", [method, "method.steps=2", "optim.updates_per_epoch=1"])
    with pytest.raises(ConfigError, match="shapes-verifier has none; train on differentiable scores alone"):
        check(config)
    check(load_config("shapes", [method, "reward=[shapes-contrastive]", "eval.rewards=[]"]))
    mixed = "reward=[shapes-contrastive, jpeg]"
    with pytest.raises(ConfigError, match=", and jpeg has none"):
        check(load_config("shapes", [method, mixed, "eval.rewards=[]"]))
    offloaded = "reward=[{name: shapes-contrastive, offload: true}]"
    with pytest.raises(ConfigError, match="remove offload from the trained scores"):
        check(load_config("shapes", [method, offloaded, "eval.rewards=[]"]))


@pytest.mark.parametrize("method", ["method.name=ddpo", "method.branches=1"])
def test_scores_of_pairs_are_refused_where_a_prompt_has_one_image(tmp_path, method):
    path = tmp_path / "mine.py"
    path.write_text("""
class Sharper:
    pairwise, differentiable = True, False
    def load(self, device, dtype): pass
    def __call__(self, first, second, prompts, metadata): return first.std() - second.std()
""")
    with pytest.raises(ConfigError, match=r"draw one image of a prompt, and .*Sharper compares several"):
        check(load_config("shapes", [method, "optim.updates_per_epoch=1", f"reward=[{path}:Sharper]"]))
