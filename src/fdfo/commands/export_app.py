"""The command lines of `fdfo export` and `fdfo push`."""

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[Path, typer.Argument(help="Run folder.")]
CheckpointOption = Annotated[
    str | None,
    typer.Option("--checkpoint", help="best, latest or a name, as epoch-0000080; default: best."),
]
LicenceOption = Annotated[
    str | None, typer.Option("--licence", help="Licence on the card, as the hub names it; default: the base's.")
]


def export(
    run: RunArgument,
    to: Annotated[
        str,
        typer.Option("--to", help="LoRA file for diffusers, comfyui or kohya; or merged: a whole pipeline folder."),
    ] = "diffusers",
    checkpoint: CheckpointOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: <run>/export.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, bfloat16 or float16; default: as trained.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Also a model card, pictures, the configuration and a ComfyUI workflow.")
    ] = False,
    licence: LicenceOption = None,
) -> None:
    """Write the trained weights for use elsewhere.

    A LoRA file says in its header what it is for and where it comes from.
    """
    from fdfo.commands.export import run_export

    run_export(run, to, checkpoint, output, dtype, card=card, licence=licence)


def push(
    run: RunArgument,
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.")],
    checkpoint: CheckpointOption = None,
    licence: LicenceOption = None,
    private: Annotated[bool, typer.Option("--private", help="Let only its owner see it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files and the card, and send nothing.")] = False,
) -> None:
    """Upload the LoRA with its model card to the hub."""
    from fdfo.commands.publish import run_push

    run_push(run, repository, checkpoint, licence, private, dry_run)
