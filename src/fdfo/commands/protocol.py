"""`fdfo eval --preset paper`: the published evaluation, beside its published values."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fdfo.commands.evaluate import run_evaluate
from fdfo.commands.subject import Subject
from fdfo.commands.task import Task
from fdfo.commands.tell import say
from fdfo.config.load import reward_entries
from fdfo.errors import ConfigError, nearest
from fdfo.evaluation.features import diversity_features
from fdfo.evaluation.protocol import PAPER, RESOLUTION, STEPS, SUBJECT, Protocol
from fdfo.evaluation.summary import Row
from fdfo.models.load import side_problem
from fdfo.prompts import load_prompts
from fdfo.rewards.weighted import WeightedSum

PRESETS = {"paper": PAPER}

DECIDED = ("prompts", "rewards", "count", "images", "steps", "resolution", "diversity", "distance")
"""Options that a preset decides."""


def run_protocol(
    name: str,
    subjects: Sequence[Subject],
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
    _check_size(name, subjects[0])
    _check(PRESETS[name])
    subjects = [replace(subject, resolution=RESOLUTION) for subject in subjects]
    for part in PRESETS[name]:
        task = Task(
            prompts=part.prompts,
            rewards=part.rewards,
            count=part.count,
            images=part.images,
            steps=STEPS,
            seed=seed,
            diversity=part.diversity,
            offload=offload,
        )
        _print(part, run_evaluate(subjects, task, output / part.name, keep_images))


def _check_size(name: str, subject: Subject) -> None:
    """Raise ConfigError for a model that cannot draw images of the preset's size."""
    if problem := side_problem(subject.settings(subject.config()), RESOLUTION):
        raise ConfigError("the command line", [f"--preset {name} draws {RESOLUTION} pixels a side: {problem}"])


def _check(parts: Sequence[Protocol]) -> None:
    """Find out what a later part lacks before hours have passed: prompts, scores, features. Raises FdfoError."""
    for part in parts:
        load_prompts(None, part.prompts)
        scores = WeightedSum(reward_entries(part.rewards.split(","), part.name))
        diversity_features(part.diversity, scores.embedders)


def _print(part: Protocol, rows: Sequence[Row]) -> None:
    """A line for each published value with what was measured here; nothing in other processes than the first."""
    if rows:
        say(f"published: {SUBJECT}")
    for score, value in part.published.items():
        measured = {row.weights: row.mean for row in rows if row.score == score and row.category is None}
        here = "".join(f"  {weights} {mean.mean:.4g}" for weights, mean in measured.items())
        if here:
            say(f"  {score:<15} {value:<8.6g}{here}")
