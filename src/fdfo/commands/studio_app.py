"""The command line of `fdfo studio`."""

from pathlib import Path
from typing import Annotated

import typer

RunsArgument = Annotated[list[Path] | None, typer.Argument(help="Folders below which there are runs; default: runs.")]


def studio(
    runs: RunsArgument = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8766,
) -> None:
    """Watch runs in the browser.

    Curves, pictures and pairs as they come; compare, draw, stop, keep, export. It reads run folders, those of other
    machines too, where they are shared or copied here. Only this machine can reach it.
    """
    from fdfo.commands.extras import need

    need("studio", "starlette", "uvicorn")

    from fdfo.commands.studio import run_studio

    run_studio(runs or [Path("runs")], port)
