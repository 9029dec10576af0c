"""`fdfo init`: a commented recipe for a model, prompts and a score of one's own."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from fdfo.commands.score_list import score_list
from fdfo.commands.terminal import say
from fdfo.config.checks import EMBEDDED
from fdfo.config.load import check_recipe_text
from fdfo.errors import ConfigError
from fdfo.files import write_atomically
from fdfo.guard.files import is_file_name
from fdfo.plugins import names

QUESTIONS = {
    "model": "Model (a pipeline folder, a hub id, my_policy.py:function, or shapes)",
    "prompts": "Prompts (a file, or the name of a list)",
    "reward": "Score (a name, as pickscore, or my_scores.py:function)",
}

TEXT = """\
# Look at it: fdfo train {file} --dry-run
# Train:      fdfo train {file} --run runs/mine
# Every key, its type, default and origin: the page "Every key" of the documentation, reference/keys
base: own

policy:
  name: {model}
  # resolution: [512, 512]   # height and width in pixels; left out: the model's own
  # guidance: 4.5            # classifier-free guidance; left out: 1, which is off
  # gradient_checkpointing: true   # less memory, slower
  {dtype}

reward: {reward}

prompts:
  {prompts}
  # eval_path: held_out.txt  # left out: a fifth of the prompts at most is set aside, and never trained on
  # pairs_per_epoch: 32      # prompts of an epoch, two images each

# eval:
#   rewards: [clip]          # a score that is not trained on shows what the training does beside it

{knobs}
"""

LARGE = {
    "dtype": "# dtype: float32         # without a GPU: most processors are slow in the usual bfloat16",
    "knobs": "# optim: {lr: 3.0e-5}\n# train: {epochs: 100}",
}
SMALL = {
    "dtype": "dtype: float32           # most processors are slow in the usual bfloat16",
    "knobs": """\
# The embedded model is small: few sampling steps, large steps of training, minutes on two CPU cores.
method: {steps: 10, trained_times: 2}
optim: {lr: 1.0e-3, updates_per_epoch: 1}
train: {epochs: 20}""",
}
"""What a recipe says for a model of usual size, and for the embedded one."""


def run_init(file: Path, given: Mapping[str, str | None]) -> None:
    """Write a recipe, from what is given and what is asked for; nothing heavy is imported to check it.

    Raises ConfigError with all problems.
    """
    if file.suffix not in (".yaml", ".yml"):
        raise ConfigError("the command line", [f"{file}: a recipe's name ends in .yaml"])
    if file.exists():
        raise ConfigError("the command line", [f"{file} is there already; give another name"])
    answers = {name: value or _asked(name, given) for name, value in given.items()}
    model, prompts, reward = (answers[name] for name in ("model", "prompts", "reward"))
    place = "name" if prompts in names("prompts") or is_file_name(prompts) else "path"
    text = TEXT.format(
        file=shlex.quote(str(file)),
        model=_yaml(model),
        prompts=f"{place}: {_yaml(prompts)}",
        reward=_yaml(score_list(reward)),
        **(SMALL if model == EMBEDDED else LARGE),
    )
    check_recipe_text(text, str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text)
    say(f"wrote {file}; the whole check, with its memory: fdfo train {shlex.quote(str(file))} --dry-run")


def _asked(name: str, given: Mapping[str, str | None]) -> str:
    if not sys.stdin.isatty():
        missing = [f"--{option}" for option, value in given.items() if not value]
        raise ConfigError("the command line", [f"give {', '.join(missing)}"])
    return str(typer.prompt(QUESTIONS[name]))


def _yaml(value: Any) -> str:
    """As JSON, which YAML reads; a plain list of names stays plain."""
    return json.dumps(value, ensure_ascii=False)
