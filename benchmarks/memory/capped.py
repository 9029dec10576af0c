"""A recipe on a card with little memory, by phase: `python -m benchmarks.memory.capped [--recipe NAME] [--gib 24]`.

Runs two epochs and an evaluation with few pairs on one CUDA card under a hard cap: text encoders, transformer, decoder
and scores have their published shapes and random weights, and take turns as in a run. Prints the most that each phase
allocated, beside the plan, and writes it to a file. benchmarks.memory.rehearsal does the same without a card.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from benchmarks.scores.network_shapes import PUBLISHED, Shapes
from benchmarks.scores.networks import random_network, random_weights
from benchmarks.scores.reward_cases import cases
from benchmarks.speed.flops import CLIP_TOKENS
from benchmarks.speed.scale import TEXT_TOKENS, cap_memory, random_policy
from fdfo.config.load import load_config
from fdfo.config.tree import Config, RewardConfig
from fdfo.files import write_json
from fdfo.models.architectures import ARCHITECTURES
from fdfo.models.policy import FlowPolicy
from fdfo.planning.batches import planner
from fdfo.planning.describe import USABLE_SHARE
from fdfo.planning.memory import GIB
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.distributed import Team
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import Phases
from fdfo.training.run import Run
from fdfo.training.setup import held_out_prompts, run_folder, training_prompts


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What a recipe took on a card."""

    recipe: str
    changes: Sequence[str]
    card_gib: float
    micro_batch: int
    sample_batch: int
    counted_gib: dict[str, float]
    """The most that each phase had allocated."""
    planned_gib: dict[str, float]
    halved: Sequence[str]
    """What ran out of memory after all."""
    seconds: float


def configured(recipe: str, changes: Sequence[str], root: Path, shapes: Shapes) -> Config:
    """A recipe whose scores have their folders below `root`, with prompts of the package, and few of them."""
    plain = load_config(recipe, list(changes))
    entries = {case.title: case.entry for case in cases(root, shapes)}

    def local(one: RewardConfig) -> dict[str, Any]:
        own = {"weight": one.weight, "offload": one.offload}
        return {**entries[one.title].model_dump(exclude_none=True), **own}

    overrides = [
        f"reward={json.dumps(list(map(local, plain.reward)))}",
        f"eval.rewards={json.dumps(list(map(local, plain.eval.rewards)))}",
        *("prompts.name=shapes-train", "prompts.eval_name=shapes-validation", "train.epochs=2"),
        *("eval.prompts=4", "eval.steps=2", "train.overlap_scoring=false"),
    ]
    return load_config(recipe, [*changes, *overrides])


def measured(
    recipe: str, changes: Sequence[str], gib: float, device: torch.device, shapes: Shapes = PUBLISHED
) -> Peaks:
    """Two epochs and an evaluation of a recipe, with the batches that are planned for a card of this size."""
    plan_on = planner(load_config(recipe, list(changes)), torch.device("cuda"))
    batches, plan = plan_on(round(gib * USABLE_SHARE * GIB))
    own = [
        f"train.micro_batch={batches.micro_batch}",
        f"train.sample_batch={batches.sample_batch}",
        f"prompts.pairs_per_epoch={batches.sample_batch}",
    ]
    with TemporaryDirectory() as root:
        config = configured(recipe, [*changes, *own], Path(root), shapes)
        start = time.monotonic()
        peaks, halved = peaks_of(config, device)
    return Peaks(
        recipe=recipe,
        changes=changes,
        card_gib=gib,
        micro_batch=batches.micro_batch,
        sample_batch=batches.sample_batch,
        counted_gib={phase: round(peak / GIB, 2) for phase, peak in peaks.items()},
        planned_gib={phase: round(plan.resident(phase) / GIB, 2) for phase in plan.phases},
        halved=halved,
        seconds=round(time.monotonic() - start, 1),
    )


def peaks_of(config: Config, device: torch.device) -> tuple[dict[str, int], list[str]]:
    """The most bytes that each phase of two epochs and an evaluation allocated, and what ran out of memory."""
    team = Team(Accelerator(cpu=True))
    team.device = device
    load = WeightedSum.load

    def policy_of(*_: Any, **__: Any) -> FlowPolicy:
        settings = config.policy
        policy = random_policy(settings.name, settings.adapter, settings.gradient_checkpointing, settings.guidance)
        if settings.compile:
            policy.compile()
        return with_text_encoders(policy, settings.name)

    def load_random(self: WeightedSum, device: torch.device, dtype: torch.dtype) -> None:
        with random_weights(team.device):
            load(self, device, dtype)

    with (
        TemporaryDirectory() as folder,
        ExitStack() as stack,
        patch("fdfo.training.setup.policy_from_config", policy_of),
        patch.object(WeightedSum, "load", load_random),
        peaks_by_phase(device) as found,
    ):
        held = stack.enter_context(run_folder(config, Path(folder) / "run", team))
        run = Run(config, held, training_prompts(config, team), held_out_prompts(config, team), team, StopRequest())
        with run.console:
            run._epoch()
            run._epoch()  # with the optimizer's state from the beginning
            run._evaluate()
        log = (Path(folder) / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    events = map(json.loads, log.splitlines())
    return found, [event["batch"] for event in events if event["event"] == "out_of_memory"]


def with_text_encoders(policy: FlowPolicy, model: str) -> FlowPolicy:
    """The policy with text encoders of the published shapes in host memory, which read random tokens."""
    kinds = {"text_encoder": (CLIPTextModelWithProjection, CLIPTextConfig)}
    kinds |= {"text_encoder_2": kinds["text_encoder"], "text_encoder_3": (T5EncoderModel, T5Config)}
    clip, clip_2, t5 = policy._text_encoders = [
        random_network(kind, config(**ARCHITECTURES[model][f"{part}/config.json"]), policy.device, policy.dtype).to(
            "cpu"
        )
        for part, (kind, config) in kinds.items()
    ]

    def encode_prompt(num_images_per_prompt: int = 1, **_: Any) -> tuple[torch.Tensor, ...]:
        lengths = (CLIP_TOKENS, TEXT_TOKENS - CLIP_TOKENS)
        ids, long_ids = (torch.randint(0, 100, (1, length), device=policy.device) for length in lengths)
        pooled = [encoder(ids).text_embeds for encoder in (clip, clip_2)]
        long = t5(long_ids).last_hidden_state
        short = long.new_zeros(1, CLIP_TOKENS, long.shape[-1])
        tokens, both = torch.cat([short, long], 1), torch.cat(pooled, 1)
        return tuple(part.repeat_interleave(num_images_per_prompt, 0) for part in (tokens, tokens, both, both))

    policy.pipeline.encode_prompt = encode_prompt
    return policy


@contextmanager
def peaks_by_phase(device: torch.device) -> Iterator[dict[str, int]]:
    """The most bytes allocated in each phase of the plan, from now on; nothing on a CPU.

    An evaluation scores in a phase of its own, which counts; what else it does is sampling and decoding once more.
    """
    found: dict[str, int] = {}
    original = Phases.__call__

    @contextmanager
    def watched(self: Phases, name: str) -> Iterator[None]:
        is_planned = device.type == "cuda" and name not in ("evaluate", "save")
        if is_planned:
            torch.cuda.reset_peak_memory_stats(device)
        with original(self, name):
            yield
        if is_planned:
            found[name] = max(found.get(name, 0), torch.cuda.max_memory_allocated(device))

    with patch.object(Phases, "__call__", watched):
        yield found


def told(peaks: Peaks) -> str:
    """Lines about each phase."""
    lines = [
        f"{phase:<9}{counted:>7.2f} GiB, planned {peaks.planned_gib[phase]:>6.2f}"
        for phase, counted in peaks.counted_gib.items()
    ]
    return "\n".join([" ".join([peaks.recipe, *peaks.changes]), *lines, *(f"halved: {name}" for name in peaks.halved)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", help="to the recipe, as for fdfo train")
    parser.add_argument("--recipe", default="sd35-medium-24gb")
    parser.add_argument("--gib", type=float, default=24.0)
    parser.add_argument("--output", type=Path, default=Path("docs/results/data/capped.json"))
    options = parser.parse_args()
    cap_memory(options.gib)
    peaks = measured(options.recipe, options.changes, options.gib, torch.device("cuda", 0))
    facts = {"date": time.strftime("%Y-%m-%d"), "card": torch.cuda.get_device_name(), "torch": torch.__version__}
    write_json(options.output, {**facts, "recipes": [asdict(peaks)]})
    print(told(peaks))


if __name__ == "__main__":
    main()
