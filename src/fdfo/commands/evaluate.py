"""`fdfo eval`: scores of base and adapter on the same prompts and seeds."""

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fdfo.commands.output import prepare_output
from fdfo.commands.subject import Subject, default_steps
from fdfo.config.checks import PAIRWISE_IS_FOR_TRAINING
from fdfo.config.load import reward_entries
from fdfo.config.tree import Config, RewardConfig
from fdfo.errors import ConfigError
from fdfo.evaluation.diversity import pixel_features
from fdfo.evaluation.heldout import Evaluation, evaluation_of, judge_prompts
from fdfo.evaluation.statistics import Interval, win_rate
from fdfo.files import write_json
from fdfo.prompts import load_prompts
from fdfo.prompts.source import evenly_spread
from fdfo.records import Prompt
from fdfo.rewards.features import image_features
from fdfo.rewards.weighted import WeightedSum


def run_evaluate(
    subject: Subject,
    prompts: str | None,
    rewards: str | None,
    count: int,
    images: int,
    steps: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Print a table of means with intervals and paired differences; optionally write every score as JSON."""
    config = subject.config()
    scores = WeightedSum(_rewards(rewards, config))
    if scores.pairwise:
        problems = [PAIRWISE_IS_FOR_TRAINING.format(name=repr(name)) for name in scores.pairwise]
        raise ConfigError("--rewards", problems)
    chosen = evenly_spread(_prompts(prompts, config), count)
    if output is not None:
        prepare_output(output)
    policy, has_adapter = subject.load(config)
    scores.load(policy.device, torch.float32)

    def judge(pictures: Tensor, owners: Sequence[Prompt]) -> dict[str, Tensor]:
        return scores.components(pictures, [p.text for p in owners], [p.metadata for p in owners])

    steps = default_steps(steps, config)
    features = image_features(scores) or pixel_features
    results: dict[str, Evaluation] = {}
    for name, weights in (("base", "base"), ("adapter", "current"))[: 1 + has_adapter]:
        judged = judge_prompts(
            policy,
            chosen,
            judge,
            steps=steps,
            images_per_prompt=images,
            seed=seed,
            features=features,
            weights=weights,
        )
        results[name] = evaluation_of(0, chosen, judged, steps=steps, images_per_prompt=images)
    _print(results, len(chosen), images)
    if output is not None:
        write_json(output, {name: evaluation.to_dict() for name, evaluation in results.items()})


def _rewards(names: str | None, config: Config | None) -> list[RewardConfig]:
    if names is not None:
        return list(reward_entries([name.strip() for name in names.split(",")], "--rewards"))
    if config is None:
        raise ConfigError("the command line", ["give --rewards NAME,NAME or --run FOLDER"])
    return [*config.reward, *config.eval.rewards]


def _prompts(prompts: str | None, config: Config | None) -> list[Prompt]:
    if prompts is not None:
        is_path = "/" in prompts or Path(prompts).suffix in (".txt", ".jsonl")
        return load_prompts(prompts if is_path else None, prompts)
    if config is None:
        raise ConfigError("the command line", ["give --prompts FILE_OR_LIST or --run FOLDER"])
    return load_prompts(config.prompts.eval_path, config.prompts.eval_name)


def _short(interval: Interval) -> str:
    """Mean and half the width of its interval."""
    return f"{interval.mean:.3g} ±{(interval.high - interval.low) / 2:.2g}"


def _print(results: dict[str, Evaluation], prompts: int, images: int) -> None:
    base, adapter = results["base"], results.get("adapter")
    print(f"{prompts} prompts x {images} images, 95 % intervals over prompts")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("score")
    for column in ("base", "adapter", "difference", "wins") if adapter else ("base",):
        table.add_column(column, justify="right")
    for name in base.metrics:
        for category in (None, *base.category_names):
            label = name if category is None else f"  {category}"
            row = [_short(base.interval(name, category))]
            if adapter is not None:
                gain = adapter.gain(base, name, category)
                wins = win_rate(adapter.values(name, category), base.values(name, category))
                difference = f"{gain.mean:+.3g} [{gain.low:+.2g}, {gain.high:+.2g}]"
                row += [_short(adapter.interval(name, category)), difference, f"{wins:.0%}"]
            table.add_row(label, *row)
    Console(highlight=False).print(table)
