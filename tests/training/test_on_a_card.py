"""Training on a virtual CUDA card (memory/virtual): devices are right, no loop waits, memory is given back."""

import gc
import json

import pytest
import torch
from accelerate import Accelerator

from benchmarks.memory.virtual import CARD, VirtualCard
from benchmarks.speed.scale import MEDIUM, random_policy
from fdfo.config.load import load_config
from fdfo.config.tree import AdapterConfig, RewardConfig
from fdfo.flow.noise import NoiseStreams
from fdfo.models.architectures import ARCHITECTURES
from fdfo.models.load import policy_from_config
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.distributed import Team
from fdfo.training.epoch import sample, update
from fdfo.training.interrupt import StopRequest
from fdfo.training.run import Run
from fdfo.training.setup import held_out_prompts, run_folder, training_prompts
from tests.benchmarks.test_capped import CHANGES
from tests.methods.world import VARIANTS, make, make_engine, prompts
from tests.nightly import by_day

DAILY = ("fdfo",)
"""The rest at night: a group, an old policy, a score's gradient, and variants of them."""

ONE_LAYER = {"num_layers": 1, "dual_attention_layers": []}


@pytest.fixture
def small():
    """A card with a small bfloat16 policy of random weights on it; its network has one layer, as each is alike."""
    configs = {path: {**content, **CHANGES.get(path, {})} for path, content in ARCHITECTURES[MEDIUM].items()}
    configs["transformer/config.json"] = {**configs["transformer/config.json"], **ONE_LAYER}
    with pytest.MonkeyPatch.context() as patch, VirtualCard() as card:
        patch.setitem(ARCHITECTURES, MEDIUM, configs)
        policy = random_policy(MEDIUM, AdapterConfig(rank=4))
        policy.prepare([prompt.text for prompt in prompts(8)])
        yield card, policy


def engine_on(policy, method, **options):
    engine = make_engine(method, policy, **options)
    engine.team.device = CARD
    return engine


def epoch(engine):
    noise = NoiseStreams(seed=0, epoch=0)
    return update(engine, sample(engine, prompts(2), noise), noise)


def waits(small, variant, micro_batch=64, **settings):
    """How often an epoch waits for the card, and where."""
    card, policy = small
    engine = engine_on(policy, make(variant, **settings), micro_batch=micro_batch)
    policy.grid(engine.method.config.steps)  # is asked once
    card.waits.clear()
    epoch(engine)
    policy.weights.snapshots.clear()
    assert card.waits.total() > 0
    return dict(card.waits)


@pytest.mark.parametrize("variant", by_day(DAILY, VARIANTS))
def test_neither_steps_nor_micro_batches_wait_for_the_card(small, variant):
    few = waits(small, variant)
    assert waits(small, variant, steps=6) == few
    if not make(variant).differentiates_reward:  # a score may wait as it likes
        assert waits(small, variant, micro_batch=5) == few


@pytest.mark.slow
def test_out_of_memory_halves_the_micro_batch_and_leaves_nothing_behind(small):
    card, policy = small
    policy.grid(8)  # is asked once
    gc.collect()
    before, noise = card.held, NoiseStreams(seed=0, epoch=0)

    def trained(micro_batch, room=None):
        """The micro-batch in the end, what was halved, and the most that updates held beside the policy."""
        engine = engine_on(policy, make("fdfo", steps=8), micro_batch=micro_batch)
        sampled = sample(engine, prompts(2), noise)
        card.size = before + (room or 2**40)
        card.reset_peak()
        update(engine, sampled, noise)
        engine.optimizer.zero_grad(set_to_none=True)
        return engine.micro_batch, [halving.batch for halving in engine.halvings], card.peak - before

    whole, in_halves = trained(32), trained(16)
    assert (whole[:2], in_halves[:2]) == ((32, []), (16, []))
    assert whole[2] > 1.5 * in_halves[2]
    assert trained(32, room=whole[2] - 1)[:2] == (16, ["micro_batch"])
    assert trained(32, room=in_halves[2])[:2] == (16, ["micro_batch"])
    assert card.held == before


IN_16_BITS = ("policy.dtype=bfloat16", "policy.adapter.kind=lora")


def test_text_encoders_and_the_network_are_never_there_together():
    with VirtualCard() as card:
        policy = policy_from_config(load_config("shapes", IN_16_BITS).policy, seed=0, device=CARD)
        network, encoders = (
            sum(parameter.nbytes for part in parts for parameter in part.parameters())
            for parts in ([policy.weights.network], policy._text_encoders)
        )
        policy.prepare([])  # what every call shares is learnt once, and stays
        gc.collect()
        before = card.held
        card.reset_peak()
        policy.prepare(["something new"])
        gc.collect()
        assert card.held == before
        peak = card.peak
        (row,) = policy.encode(["something new"]).rows
        told = sum(tensor.nbytes for tensor in row.values())  # is there for a moment when the network is back
        assert peak <= before + max(told, 1.2 * encoders - network)  # a fifth for what they compute


RUN = (
    *IN_16_BITS,
    *("prompts.pairs_per_epoch=4", "train.epochs=2", "train.overlap_scoring=false"),
    *("eval.prompts=2", "eval.steps=2", "eval.images_per_prompt=2", "eval.every=1"),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "changes",
    [
        ("policy.guidance=2", "policy.gradient_checkpointing=true", "optim.ema=0.9"),
        ("policy.adapter.kind=full", "method.direction=score_gradient", "policy.vae_tile=16"),
        ("reward=[{name: shapes-contrastive, offload: true}]", "method.credit=step", "method.branches=2"),
    ],
    ids=["guided", "full", "turns"],
)
@pytest.mark.slow
def test_a_whole_run(changes, tmp_path):
    """With evaluations, checkpoints, and going on from one."""
    team = Team(Accelerator(cpu=True))
    team.device = CARD

    def trained(epochs):
        config = load_config("shapes-smoke", [*RUN, f"train.epochs={epochs}", *changes])
        with VirtualCard() as card, run_folder(config, tmp_path / "run", team) as held:
            given = training_prompts(config, team), held_out_prompts(config, team)
            run = Run(config, held, *given, team, StopRequest())
            with run.console:
                run.go()
            del run
        return card

    assert trained(1).peak > 0
    trained(2)
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [event["epoch"] for event in events if event["event"] == "rollout"] == [1, 2]
    assert all(event["peak_memory_gib"] > 0 for event in events if event["event"] == "rollout")
    assert [event["epoch"] for event in events if event["event"] == "evaluation"] == [0, 1, 2]


def test_a_score_that_takes_turns_leaves_the_card():
    with VirtualCard() as card:
        reward = WeightedSum([RewardConfig(name="shapes-contrastive", offload=True)])
        reward.load(CARD, torch.float32)
        images = torch.rand(2, 3, 32, 32, device="cuda")
        with torch.no_grad():
            assert reward(images, ["a red circle"] * 2, [{}, {}]).device == CARD
        assert card.held == images.nbytes + 512 < card.peak  # and its scale, one number
