"""Base weights sharded over two processes: the same run, and half of the weights on each."""

from types import SimpleNamespace

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.config.tree import AdapterConfig
from fdfo.errors import ConfigError
from fdfo.models.load import load_policy
from fdfo.training.distributed import this_team
from fdfo.training.setup import held_out_prompts
from fdfo.training.sharding import check_sharding, shard_base
from tests.training.forks import forked
from tests.training.runs import TINY, largest_difference, run

EVEN = ("prompts.pairs_per_epoch=4", "eval.prompts=2", "train.epochs=1", "train.max_failed_share=0")


@pytest.fixture
def fsdp(monkeypatch):
    """What accelerate launch sets for `distributed_type: FSDP` with `fsdp_version: 2`."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")


@pytest.mark.slow
def test_a_sharded_run_is_the_same_bit_for_bit(tmp_path, request):
    """As one on as many processes without sharding, which equals one on a single process (test_invariance)."""
    assert forked(2, lambda rank: run(tmp_path / "whole", *EVEN)) == [0, 0]
    request.getfixturevalue("fsdp")
    assert forked(2, lambda rank: run(tmp_path / "sharded", *EVEN)) == [0, 0]
    assert largest_difference(tmp_path / "whole", tmp_path / "sharded") == 0


def test_each_process_holds_half_of_the_base_and_all_of_the_adapters(fsdp):
    policy = load_policy("shapes", adapter=AdapterConfig(rank=4, alpha=8), device="cpu")
    parameters = list(policy.weights.network.parameters())
    base = sum(p.numel() for p in parameters if not p.requires_grad)
    adapters = sum(p.numel() for p in parameters if p.requires_grad)

    def work(rank):
        shard_base(policy, this_team())
        kept = [p for p in policy.weights.network.parameters() if not p.requires_grad]
        assert sum(p.to_local().numel() for p in kept) < 0.51 * base
        assert sum(p.numel() for p in policy.trainable()) == adapters
        assert all(type(p) is torch.nn.Parameter for p in policy.trainable())

    assert forked(2, work) == [0, 0]


def test_what_cannot_be_sharded_is_refused_with_all_reasons(fsdp):
    config = load_config("shapes-smoke", [*TINY, "policy.adapter.kind=full"])

    def work(rank):
        with pytest.raises(ConfigError) as refused:
            check_sharding(config, this_team())
        assert len(refused.value.problems) == 3
        assert "prompts.pairs_per_epoch=5 does not divide by 2 processes; use 6, or DDP" in refused.value.problems

    assert forked(2, work) == [0, 0]


def test_a_list_of_held_out_prompts_that_is_shorter_than_asked_for_is_shared_evenly_or_refused(tmp_path, request):
    (tmp_path / "held-out.txt").write_text("".join(f"{number} red circles\n" for number in range(5)))
    config = load_config("shapes-smoke", [f"prompts.eval_path={tmp_path}/held-out.txt", "eval.prompts=6"])
    team = SimpleNamespace(size=2)
    assert len(held_out_prompts(config, team)) == 5
    request.getfixturevalue("fsdp")
    with pytest.raises(ConfigError, match="5 prompts do not divide by 2 processes; use 4, or DDP"):
        held_out_prompts(config, team)
