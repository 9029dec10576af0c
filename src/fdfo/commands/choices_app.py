"""The command line of `fdfo choices`."""

from pathlib import Path
from typing import Annotated

import typer

choices_app = typer.Typer(help="What people chose: stats, export.", no_args_is_help=True, rich_markup_mode=None)

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
