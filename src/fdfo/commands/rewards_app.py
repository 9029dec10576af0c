"""`fdfo rewards`: the commands that look at scores."""

from typing import Annotated

import typer

from fdfo.commands.options import DeviceOption, OptionsArgument
from fdfo.commands.words import TakesWords

rewards_app = typer.Typer(help="Look at the scores: list, check.", no_args_is_help=True, rich_markup_mode=None)


@rewards_app.command("list")
def rewards_list() -> None:
    """Names of the scores, built-in and installed, and of the presets."""
    from fdfo.commands.rewards import run_list

    run_list()


@rewards_app.command("check", cls=TakesWords)
def rewards_check(
    name: Annotated[str, typer.Argument(help="A score's name, a preset, or path/to/file.py:function.")],
    options: OptionsArgument = None,
    device: DeviceOption = None,
) -> None:
    """Load a score and try it on drawn pictures.

    Shows its scores for right and wrong pictures, memory, speed, licence and model, and whether right outranks wrong.
    """
    from fdfo.commands.rewards import run_check

    run_check(name, options or [], device)
