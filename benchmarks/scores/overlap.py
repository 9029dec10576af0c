"""How much of the scoring a run hides behind sampling: the same epochs with `train.overlap_scoring` off and on.

An epoch here is what comes before the update: sampling, decoding and scoring. The last batch has no next one to hide
behind, so that of b batches at most (b - 1) / b can be hidden, and no more than sampling the others takes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.scores.reward_cases import Case, loaded, prompts
from fdfo.config.load import load_config
from fdfo.config.tree import Config, RewardConfig
from fdfo.flow.noise import NoiseStreams
from fdfo.models.load import policy_from_config
from fdfo.models.policy import FlowPolicy
from fdfo.plugins import method_of
from fdfo.records import Prompt
from fdfo.rewards.server import LARGEST_REQUEST_BYTES, reward_app
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.engine import Engine
from fdfo.training.epoch import sample
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import Phases
from fdfo.training.setup import build_optimizer
from fdfo.web.listening import listen
from fdfo.web.server import Server

LEAST_PAIRS, MOST_PAIRS = 3, 12


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is sampled while scores are computed."""

    recipe: str
    options: tuple[str, ...]
    policy: Callable[[Config, torch.device], FlowPolicy]
    prompts: int
    prompts_a_batch: int
    scores: tuple[str, ...]
    """Titles of the cases that overlap with it."""
    wait_s: float
    """Of the server, for each batch."""
    seconds: float
    """Of measuring one score, beside the warm-up."""


def _random_medium(config: Config, device: torch.device) -> FlowPolicy:
    """SD3.5-Medium at 512 px with random weights, to which every prompt says something random."""
    from benchmarks.speed.scale import MEDIUM, random_policy

    return random_policy(MEDIUM, config.policy.adapter)


EMBEDDED = Setting(
    recipe="shapes",
    options=(),
    policy=lambda config, device: policy_from_config(config.policy, seed=0, device=device),
    prompts=32,
    prompts_a_batch=8,
    scores=("shapes-contrastive", "clip-l14"),
    wait_s=0.2,
    seconds=70.0,
)
FULL_SIZE = Setting(
    recipe="sd35-medium-paper",
    options=("method.steps=4",),
    policy=_random_medium,
    prompts=16,
    prompts_a_batch=4,
    scores=("pickscore", "vlm-alignment"),
    wait_s=0.3,
    seconds=18.0,
)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Seconds of epochs, pair by pair."""

    score: str
    recipe: str
    images: int
    """Of an epoch."""
    batches: int
    apart_s: list[float] = field(default_factory=list)
    """Epochs in which each batch is scored before the next is sampled."""
    score_s: list[float] = field(default_factory=list)
    """Their phase "score"."""
    together_s: list[float] = field(default_factory=list)
    """The same epochs, each batch scored while the next is sampled."""
    waited_s: list[float] = field(default_factory=list)
    """Their phase "score": what is still waited for."""


def waits(images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]], *, seconds: float) -> Tensor:
    """A score that takes `seconds` of no processor's time, as another machine does."""
    time.sleep(seconds)
    return images.new_zeros(len(images))


def measurements(found: Sequence[Case], device: torch.device, setting: Setting) -> dict[str, Callable[[], Overlap]]:
    """What there is to measure, by title; all of it samples the same policy."""
    config = load_config(setting.recipe, list(setting.options))
    by_title = {case.title: case for case in found}

    @cache
    def policy() -> FlowPolicy:
        return setting.policy(config, device)

    def of(title: str, reward: WeightedSum) -> Overlap:
        engine = _engine(config, policy(), reward, setting.prompts_a_batch)
        return paired(engine, prompts()[: setting.prompts], title, setting)

    def computed(title: str) -> Overlap:
        return of(title, loaded(by_title[title], device)[0])

    def waited(title: str) -> Overlap:
        with waiting_server(setting.wait_s) as url:
            reward = WeightedSum([RewardConfig(name="remote", url=url)])  # type: ignore[call-arg]
            reward.load(device, torch.float32)
            return of(title, reward)

    remote = f"remote that waits {setting.wait_s:g} s a batch"
    return {f"overlap: {name}": partial(computed, name) for name in setting.scores} | {
        f"overlap: {remote}": partial(waited, remote)
    }


def paired(engine: Engine, epoch_prompts: Sequence[Prompt], title: str, setting: Setting) -> Overlap:
    """Alternate between both ways, beginning with each in turn, after one epoch of both that is not counted."""
    images = len(epoch_prompts) * engine.method.group_size
    batches = -(-len(epoch_prompts) // engine.sample_batch)
    recipe = " ".join((setting.recipe, *setting.options))
    result = Overlap(score=title, recipe=recipe, images=images, batches=batches)
    for overlap in (False, True):
        _epoch(engine, epoch_prompts, 0, overlap)
    begun, pair = time.monotonic(), 0
    while pair < LEAST_PAIRS or (pair < MOST_PAIRS and time.monotonic() - begun < setting.seconds):
        for overlap in (False, True) if pair % 2 == 0 else (True, False):
            whole, score = _epoch(engine, epoch_prompts, pair, overlap)
            (result.together_s if overlap else result.apart_s).append(whole)
            (result.waited_s if overlap else result.score_s).append(score)
        pair += 1
    return result


def _epoch(engine: Engine, epoch_prompts: Sequence[Prompt], number: int, overlap: bool) -> tuple[float, float]:
    """Seconds of an epoch up to its update, and of its phase "score"."""
    engine.overlap = overlap
    engine.phases.take()
    start = time.monotonic()
    sample(engine, epoch_prompts, NoiseStreams(0, number))
    return time.monotonic() - start, engine.phases.take()["score"]


def _engine(config: Config, policy: FlowPolicy, reward: WeightedSum, prompts_a_batch: int) -> Engine:
    """What `fdfo train` builds, around a given policy and a loaded reward."""
    method = method_of(config.method)
    return Engine(
        config=config,
        team=Team(Accelerator(cpu=policy.device.type == "cpu")),
        policy=policy,
        method=method,
        reward=reward,
        optimizer=build_optimizer(config.optim, policy.trainable()),
        phases=Phases(policy.device),
        stop=StopRequest(),
        sample_batch=prompts_a_batch,
        score_batch=prompts_a_batch * method.group_size,
        micro_batch=1,
        console=Console(False, 1),
        overlap=False,
    )


@contextmanager
def waiting_server(seconds: float) -> Iterator[str]:
    """The address of a server of `waits`, on this machine."""
    reward = WeightedSum([RewardConfig(name=f"{Path(__file__)}:waits", seconds=seconds)])  # type: ignore[call-arg]
    app = reward_app(reward, "waits", torch.device("cpu"), key=None)
    with listen("127.0.0.1", 0) as listener, Server(app, listener, most_bytes=LARGEST_REQUEST_BYTES) as server:
        yield server.url
