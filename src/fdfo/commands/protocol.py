"""`fdfo eval --preset`: published evaluations, beside their published values or as papers print them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fdfo.commands.evaluate import run_evaluate
from fdfo.commands.evaluation_task import EvaluationTask
from fdfo.commands.model_choice import ModelChoice
from fdfo.commands.terminal import say
from fdfo.config.load import reward_entries
from fdfo.errors import ConfigError, nearest
from fdfo.evaluation.features import diversity_features
from fdfo.evaluation.protocol import DRAWBENCH, PAPER, RESOLUTION, STEPS, SUBJECT, Column, Protocol
from fdfo.evaluation.summary import Row
from fdfo.models.load import side_problem
from fdfo.prompts import load_prompts
from fdfo.rewards.weighted import WeightedSum
from fdfo.visible import visible

PRESETS = {"paper": PAPER, "drawbench": DRAWBENCH}

DECIDED = ("prompts", "rewards", "count", "images", "steps", "resolution", "diversity", "distance")
"""Options that a preset decides."""


def run_protocol(
    name: str,
    choices: Sequence[ModelChoice],
    seed: int,
    output: Path | None,
    keep_images: bool,
    offload: bool,
    refused: Sequence[str],
) -> None:
    """Evaluate in a folder of `output` for each list of prompts. Raises ConfigError for options that do not fit.

    `refused` are the options that were given although a preset decides them.
    """
    problems = []
    if name not in PRESETS:
        problems.append(f"--preset {name!r} does not exist; {nearest(name, list(PRESETS))}")
    if refused:
        problems.append(f"--preset {name} decides {', '.join(refused)}; leave {'them' if refused[1:] else 'it'} out")
    if output is None:
        problems.append("give --output FOLDER: a preset takes hours, and goes on in it after an interruption")
    if problems or output is None:
        raise ConfigError("the command line", problems)
    _check_size(name, choices[0])
    _check(PRESETS[name])
    choices = [replace(choice, resolution=RESOLUTION) for choice in choices]
    for part in PRESETS[name]:
        task = EvaluationTask(
            prompts=part.prompts,
            rewards=part.rewards,
            count=part.count,
            images=part.images,
            steps=STEPS,
            seed=seed,
            diversity=part.diversity,
            offload=offload,
        )
        _print(part, run_evaluate(choices, task, output / part.name, keep_images))


def _check_size(name: str, choice: ModelChoice) -> None:
    """Raise ConfigError for a model that cannot draw images of the preset's size."""
    if problem := side_problem(choice.settings(choice.config()), RESOLUTION):
        raise ConfigError("the command line", [f"--preset {name} draws {RESOLUTION} pixels a side: {problem}"])


def _check(parts: Sequence[Protocol]) -> None:
    """Find out what a later part lacks before hours have passed: prompts, scores, features. Raises FdfoError."""
    for part in parts:
        load_prompts(None, part.prompts)
        scores = WeightedSum(reward_entries(part.rewards.split(","), part.name))
        diversity_features(part.diversity, scores.embedders)


def _print(part: Protocol, rows: Sequence[Row]) -> None:
    """Published values beside what was measured here, and the table as papers print it; nothing without rows, as in
    other processes than the first."""
    whole = [row for row in rows if row.category is None]
    if rows and part.published:
        say(f"published: {SUBJECT}")
    for score, value in part.published.items():
        here = "".join(f"  {row.weights} {row.mean.mean:.4g}" for row in whole if row.score == score)
        if here:
            say(f"  {score:<15} {value:<8.6g}{here}")
    if rows and part.columns:
        for line in printed_table(part.columns, whole):
            say(line)


def printed_table(columns: Mapping[str, Column], rows: Sequence[Row]) -> list[str]:
    """The means as papers print them, in lines of Markdown; a row for each set of weights."""
    means = {(row.weights, row.score): row.mean.mean for row in rows}
    lines = [
        f"| weights | {' | '.join(column.title for column in columns.values())} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for weights in dict.fromkeys(row.weights for row in rows):
        cells = [f"{means[weights, score] / column.unit:.4g}" for score, column in columns.items()]
        lines.append(f"| {visible(weights)} | {' | '.join(cells)} |")
    return lines
