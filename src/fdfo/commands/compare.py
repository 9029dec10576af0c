"""`fdfo compare`."""

import sys
from contextlib import ExitStack
from pathlib import Path

from fdfo.commands.output import prepare_folder
from fdfo.commands.tell import say
from fdfo.comparison.conduct import Conduct
from fdfo.comparison.page import html, markdown
from fdfo.comparison.plan import Plan
from fdfo.comparison.results import Results
from fdfo.errors import ConfigError
from fdfo.files import write_atomically
from fdfo.locks import one_writer
from fdfo.training.interrupt import Interrupted, stop_on_signals


def run_compare(
    plan: Plan, arguments: list[str], output: Path, runs: Path | None, jobs: int | None, page_only: bool
) -> None:
    """Do what is not done of a plan, then write its pages; or write them from the results that are there.

    `arguments` are those that named the plan.
    Exits with 128 + signal number after an interruption.
    """
    if jobs is not None:
        plan = plan.model_copy(update={"jobs": jobs})
    data, folder = output / "data" / f"{plan.name}.jsonl", runs or Path("runs") / plan.name
    results = Results(data)
    if page_only and not results.found:
        raise ConfigError("the command line", [f"--page-only: {data} has no results; leave the option out"])
    conduct = Conduct(plan, results, folder, lambda line: say(line, flush=True))
    conduct.prepare()
    if not page_only:
        with ExitStack() as stack:
            for place, shared, option in ((data.parent, data, "--output"), (folder, folder, "--runs")):
                prepare_folder(place)
                stack.enter_context(one_writer(shared, f"wait until it has ended, or give another {option} folder"))
            _go(conduct)
    _write(plan, results, output, arguments)


def _go(conduct: Conduct) -> None:
    try:
        with stop_on_signals() as stop:
            conduct.go(stop)
    except Interrupted as interrupted:
        say("stopped; repeat the command to continue")
        sys.exit(128 + interrupted.signal_number)


def _write(plan: Plan, results: Results, output: Path, arguments: list[str]) -> None:
    """NAME.md and NAME.html in the output folder."""
    found = results.ordered
    paths = [output / f"{plan.name}.{suffix}" for suffix in ("md", "html")]
    write_atomically(paths[0], markdown(plan, found, f"fdfo compare {' '.join(arguments)}"))
    write_atomically(paths[1], html(plan, found))
    say(f"wrote {paths[0]} and {paths[1]}")
