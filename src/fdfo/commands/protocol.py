"""`fdfo eval --preset paper`: the published evaluation, beside its published values."""

from collections.abc import Sequence
from pathlib import Path

from fdfo.commands.evaluate import Task, run_evaluate
from fdfo.commands.subject import Subject
from fdfo.errors import ConfigError, nearest
from fdfo.evaluation.protocol import PAPER, STEPS, SUBJECT, Protocol
from fdfo.evaluation.summary import Row

PRESETS = {"paper": PAPER}


def run_protocol(name: str, subjects: Sequence[Subject], seed: int, output: Path | None, keep_images: bool) -> None:
    """Evaluate in a folder of `output` for each list of prompts. Raises ConfigError for options that do not fit."""
    problems = []
    if name not in PRESETS:
        problems.append(f"--preset {name!r} does not exist; {nearest(name, list(PRESETS))}")
    if output is None:
        problems.append("give --output FOLDER: a preset takes hours, and goes on in it after an interruption")
    if problems or output is None:
        raise ConfigError("the command line", problems)
    for part in PRESETS[name]:
        task = Task(
            prompts=part.prompts,
            rewards=part.rewards,
            count=part.count,
            images=part.images,
            steps=STEPS,
            seed=seed,
            diversity=part.diversity,
        )
        _print(part, run_evaluate(subjects, task, output / part.name, keep_images))


def _print(part: Protocol, rows: Sequence[Row]) -> None:
    """A line for each published value with what was measured here; nothing in other processes than the first."""
    if rows:
        print(f"published: {SUBJECT}")
    for score, value in part.published.items():
        measured = {row.weights: row.mean for row in rows if row.score == score and row.category is None}
        here = "".join(f"  {weights} {mean.mean:.4g}" for weights, mean in measured.items())
        if here:
            print(f"  {score:<15} {value:<8.6g}{here}")
