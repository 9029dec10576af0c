"""The smallest preset under a hard cap, phase by phase: `python -m benchmarks.capped [--gib 24] [--output FILE]`.

Runs an epoch of `sd35-medium-24gb` with few pairs on one CUDA card: text encoders, transformer, decoder, PickScore and
the vision-language model have their published shapes and random weights, and take turns as in a run. Prints the most
that each phase allocated, beside the plan, and writes it to FILE.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from benchmarks.flops import CLIP_TOKENS
from benchmarks.network_shapes import PUBLISHED, Shapes
from benchmarks.networks import random_network, random_weights
from benchmarks.reward_cases import cases
from benchmarks.scale import MEDIUM, cap_memory, random_policy
from fdfo.config.load import load_config
from fdfo.config.tree import Config
from fdfo.models.known import KNOWN
from fdfo.models.sd3 import SD3Policy
from fdfo.planning.batches import planner
from fdfo.planning.describe import USABLE_SHARE
from fdfo.planning.memory import GIB
from fdfo.records import Conditioning
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.distributed import Team
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import Phases
from fdfo.training.run import Run

RECIPE = "sd35-medium-24gb"


def configured(root: Path, shapes: Shapes, pairs: int, *more: str) -> Config:
    """The preset with scores whose folders lie below `root`, prompts of the package, and few pairs."""
    entries = {case.title: case.entry for case in cases(root, shapes)}
    reward = [
        {**entries[one.title].model_dump(exclude_none=True), "weight": one.weight, "offload": one.offload}
        for one in load_config(RECIPE).reward
    ]
    small = ["eval.rewards=[]", "prompts.name=shapes-train", "prompts.eval_name=shapes-validation", "train.epochs=1"]
    overrides = [f"reward={json.dumps(reward)}", f"prompts.pairs_per_epoch={pairs}", *small, *more]
    return load_config(RECIPE, overrides)


def with_text_encoders(policy: SD3Policy, known: Mapping[str, Any]) -> SD3Policy:
    """The policy with text encoders of the published shapes in host memory, which read random tokens."""
    kinds = {"text_encoder": (CLIPTextModelWithProjection, CLIPTextConfig)}
    kinds |= {"text_encoder_2": kinds["text_encoder"], "text_encoder_3": (T5EncoderModel, T5Config)}
    clip, clip_2, t5 = policy._text_encoders = [
        random_network(kind, config(**known[f"{part}/config.json"]), policy.device, policy.dtype).to("cpu")
        for part, (kind, config) in kinds.items()
    ]

    def encode_one(text: str) -> Conditioning:
        ids, long_ids = (
            torch.randint(0, 100, (1, count), device=policy.device) for count in (CLIP_TOKENS, policy.text_tokens)
        )
        pooled = [encoder(ids).text_embeds for encoder in (clip, clip_2)]
        long = t5(long_ids).last_hidden_state
        short = long.new_zeros(1, CLIP_TOKENS, long.shape[-1])
        return Conditioning(tokens=torch.cat([short, long], 1).cpu(), pooled=torch.cat(pooled, 1).cpu())

    policy._encode_one = encode_one  # type: ignore[method-assign]
    return policy


@contextmanager
def peaks_by_phase(device: torch.device) -> Iterator[dict[str, int]]:
    """The most bytes allocated in each phase, from now on; nothing on a CPU."""
    found: dict[str, int] = {}
    original = Phases.__call__

    @contextmanager
    def watched(self: Phases, name: str) -> Iterator[None]:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with original(self, name):
            yield
        if device.type == "cuda":
            found[name] = max(found.get(name, 0), torch.cuda.max_memory_allocated(device))

    with patch.object(Phases, "__call__", watched):
        yield found


def measure(config: Config, known: Mapping[str, Any]) -> tuple[dict[str, int], float]:
    """Peaks of one epoch by phase, and its seconds."""
    team = Team(Accelerator(cpu=not torch.cuda.is_available()))
    load = WeightedSum.load

    def policy_of(*_: Any, **__: Any) -> SD3Policy:
        policy = with_text_encoders(random_policy(MEDIUM, config.policy.adapter), known)
        if config.policy.compile:
            policy.compile()
        return policy

    def load_random(self: WeightedSum, device: torch.device, dtype: torch.dtype) -> None:
        with random_weights(team.device):
            load(self, device, dtype)

    with (
        TemporaryDirectory() as folder,
        patch("fdfo.training.setup.policy_from_config", policy_of),
        patch.object(WeightedSum, "load", load_random),
    ):
        run = Run(config, Path(folder) / "run", team, StopRequest())
        with run.console, peaks_by_phase(team.device) as found:
            begun = time.monotonic()
            run._epoch()
            return found, time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=24.0)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--output", type=Path, default=Path("docs/results/data/capped-h200.json"))
    options = parser.parse_args()
    cap_memory(options.gib)
    with TemporaryDirectory() as root:
        config = configured(Path(root), PUBLISHED, options.pairs)
        _, plan = planner(config, torch.device("cuda"))(round(options.gib * USABLE_SHARE * GIB))
        peaks, seconds = measure(config, KNOWN[MEDIUM])
    rows = [
        {"phase": phase, "peak_gib": round(peaks[phase] / GIB, 2), "planned_gib": round(plan.resident(phase) / GIB, 2)}
        for phase in plan.phases
        if phase in peaks
    ]
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cap_gib": options.gib,
        "pairs": options.pairs,
        "seconds": round(seconds, 1),
        "phases": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(facts, indent=1) + "\n")
    for row in rows:
        print(f"{row['phase']:<8} {row['peak_gib']:>6.2f} GiB, planned {row['planned_gib']:>6.2f}")


if __name__ == "__main__":
    main()
