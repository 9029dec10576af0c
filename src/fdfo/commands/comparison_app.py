"""The command lines of `fdfo compare` and `fdfo probe`."""

from pathlib import Path
from typing import Annotated

import typer

from fdfo.commands.options import HoursOption, JobsOption, PinOption, PlanArgument, ResultsOption, RunsOption
from fdfo.limits import MOST


def compare(
    arguments: PlanArgument = None,
    output: ResultsOption = Path("results"),
    runs: RunsOption = None,
    jobs: JobsOption = None,
    hours: HoursOption = None,
    pin: PinOption = False,
    page_only: Annotated[
        bool, typer.Option("--page-only", help="Write the page from the results that are there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what is left and how long it takes, and stop.")
    ] = False,
) -> None:
    """Compare methods at equal cost and at equal steps.

    Repeating the command does what is not done yet.

    \b
    fdfo compare plans/quick.yaml
    fdfo compare plans/main.yaml --hours 2 --jobs 1 --pin
    fdfo compare methods=fdfo,flow_grpo seeds=3 budget=20000
    """
    from fdfo.comparison.reading import load_plan

    plan = load_plan(arguments or [])  # a mistake is told before anything heavy is imported

    from fdfo.commands.compare import Session, run_compare

    folder = runs or Path("runs") / plan.name
    session = Session(output, folder, jobs, pin, hours, page_only, dry_run)
    run_compare(plan, arguments or [], session)


def probe(
    arguments: PlanArgument = None,
    batches: Annotated[
        int, typer.Option("--batches", help="Estimates of each cell, one epoch each.", min=4, max=MOST)
    ] = 8,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Checkpoint folder with the weights; default: the base's.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of NAME-probe.md and data/NAME-probe.jsonl.")
    ] = Path("results"),
    page_only: Annotated[
        bool, typer.Option("--page-only", help="Write the page from the measurements that are there.")
    ] = False,
) -> None:
    """Measure signal and noise of the gradients of a plan's cells.

    Nothing is trained: every cell estimates its gradient at the same weights, again and again.
    """
    from fdfo.comparison.reading import load_plan

    plan = load_plan(arguments or [])

    from fdfo.commands.probe import run_probe

    run_probe(plan, arguments or [], batches, checkpoint, output, page_only)
