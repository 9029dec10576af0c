"""Drawing and judging images from Python, with prompts as texts, and exporting what was trained."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdfo import drawing
from fdfo.drawing import Generated
from fdfo.evaluation.features import diversity_features, load_features
from fdfo.evaluation.heldout import Evaluation, evaluation_of, judge_prompts
from fdfo.interfaces import Policy, Weights
from fdfo.records import Prompt
from fdfo.rewards import WeightedSum
from fdfo.rewards.loaded import load


def generate(
    policy: Policy,
    prompts: Sequence[str | Prompt],
    *,
    steps: int = 40,
    seed: int = 0,
    images_per_prompt: int = 1,
    weights: Weights = "current",
    batch: int | None = None,
) -> Iterator[Generated]:
    """Images of any number of prompts, `batch` images at a time (by device where None), which does not change them.

    Each part has `prompts` [P], `images` [B, 3, H, W] in [0, 1] on the policy's device, B = P images_per_prompt, and
    `velocity_rms` [B]. For a few pictures to look at there is `policy.sample`, which draws the same.
    """
    options = {"steps": steps, "seed": seed, "images_per_prompt": images_per_prompt, "weights": weights}
    return drawing.generate(policy, numbered(prompts), batch=batch, **options)


def evaluate(
    policy: Policy,
    prompts: Sequence[str | Prompt],
    rewards: WeightedSum | Sequence[str | Mapping[str, Any] | Callable[..., Any]],
    *,
    steps: int = 40,
    seed: int = 0,
    images_per_prompt: int = 1,
    weights: Weights = "current",
    diversity: str | None = None,
    batch: int | None = None,
) -> Evaluation:
    """Scores of images of these prompts, as `fdfo eval` measures them.

    rewards are what `fdfo.rewards.load` takes, or returned. `evaluation.interval(name)` is a score's mean with its 95 %
    interval over prompts, and `evaluation.gain(base, name)` the paired difference to another evaluation of the same
    prompts and seed. diversity names the features in which two or more images of a prompt are compared. Raises
    ConfigError, RewardError or ModelError.
    """
    scores = rewards if isinstance(rewards, WeightedSum) else load(*rewards, device=policy.device)
    features = diversity_features(diversity, scores.embedders)
    load_features(features, policy.device)

    def judge(images: Tensor, owners: Sequence[Prompt]) -> dict[str, Tensor]:
        with torch.no_grad():
            return scores.components(images, [one.text for one in owners], [one.metadata for one in owners])

    asked = numbered(prompts)
    judged = judge_prompts(
        policy,
        asked,
        judge,
        steps=steps,
        seed=seed,
        images_per_prompt=images_per_prompt,
        features=features,
        weights=weights,
        batch=batch,
        at_once=scores.takes_turns,
    )
    applied = scores.applied([prompt.metadata for prompt in asked])
    return evaluation_of(0, asked, judged, steps=steps, images_per_prompt=images_per_prompt, applied=applied)


def export(
    run: str | Path,
    output: str | Path | None = None,
    *,
    to: str = "diffusers",
    checkpoint: str | None = None,
    dtype: str | None = None,
    card: bool = False,
    licence: str | None = None,
) -> Path:
    """Write the weights of a run for use elsewhere, as `fdfo export` does; returns the folder, the run's own `export`
    where none is given.

    to is diffusers, comfyui or kohya, for a LoRA file; or merged, for a whole pipeline folder. checkpoint is best,
    latest or a name (best where None), dtype float32, bfloat16 or float16 (as trained where None). card also writes a
    model card, under this licence (the base's where None), pictures, the configuration and a workflow for ComfyUI.
    Raises ConfigError, CheckpointError or ModelError, which name options as the command line does.
    """
    from fdfo.commands.export import export_to

    folder = Path(run) / "export" if output is None else Path(output)
    export_to(Path(run), to, checkpoint, folder, dtype, card_for=str(folder) if card else None, licence=licence)
    return folder


def numbered(prompts: Sequence[str | Prompt]) -> list[Prompt]:
    """Texts as prompts; all numbered by their places, which key the noise of their images."""
    named = [Prompt(text=prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    return [replace(prompt, number=number) for number, prompt in enumerate(named)]
