"""The command line of `fdfo init`."""

from pathlib import Path
from typing import Annotated

import typer

from fdfo.commands.options import ModelOption


def init(
    file: Annotated[Path, typer.Argument(help="Recipe to write.")] = Path("my.yaml"),
    model: ModelOption = None,
    prompts: Annotated[str | None, typer.Option("--prompts", help="Prompt file or list name to train on.")] = None,
    reward: Annotated[str | None, typer.Option("--reward", help="Score to train on: NAME,NAME, or a list.")] = None,
) -> None:
    """Write a recipe for your model, prompts and score.

    What is not given is asked for.

    \b
    fdfo init my.yaml --model my/model --prompts my_prompts.txt --reward my_scores.py:score
    """
    from fdfo.commands.init import run_init

    run_init(file, {"model": model, "prompts": prompts, "reward": reward})
