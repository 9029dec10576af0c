"""The command line of `fdfo choices`."""

from pathlib import Path
from typing import Annotated

import typer

from fdfo.commands.options import DeviceOption

choices_app = typer.Typer(help="What people chose: stats, export, fit.", no_args_is_help=True, rich_markup_mode=None)

RunsArgument = Annotated[list[Path], typer.Argument(help="Folders of runs with reward=[human].")]


@choices_app.command("export")
def choices_export(
    runs: RunsArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.")] = Path("choices.parquet"),
) -> None:
    """Write choices as a data set of preferences, in the columns of Pick-a-Pic."""
    from fdfo.commands.extras import need

    need("choices export", "pyarrow")

    from fdfo.commands.choices import run_export

    run_export(runs, output)


@choices_app.command("stats")
def choices_stats(runs: RunsArgument) -> None:
    """Show pace, ties and sides, and how people agree with themselves and each other."""
    from fdfo.commands.extras import need

    need("choices stats", "sklearn")

    from fdfo.commands.choices import run_stats

    run_stats(runs)


@choices_app.command("fit")
def choices_fit(
    runs: RunsArgument,
    features: Annotated[
        str, typer.Option("--features", help="What is learned on: clip, pickscore, dinov2 or shapes-contrastive.")
    ] = "clip",
    model: Annotated[
        str | None, typer.Option("--model", help="Folder or hub id of these features; default: the published one.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Ready scores to compare with, as NAME,NAME; that of the features is there."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the score.")] = Path("taste"),
    device: DeviceOption = None,
) -> None:
    """Learn a score from choices, and say how often it is right on choices that it has not seen.

    Runs then name it [{name: learned, path: taste}].
    """
    from fdfo.commands.extras import need

    need("choices fit", "sklearn")

    from fdfo.commands.choices_fit import run_fit

    run_fit(runs, features, model, against, output, device)
