"""`fdfo compare`."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fdfo.commands.output import prepare_folder
from fdfo.commands.terminal import say
from fdfo.comparison.conduct import Conduct
from fdfo.comparison.estimate import estimate, told
from fdfo.comparison.page import html, markdown, svg
from fdfo.comparison.plan import Plan
from fdfo.comparison.results import Results
from fdfo.comparison.workers import Places, TimeOver, default_jobs
from fdfo.errors import ConfigError
from fdfo.files import write_atomically
from fdfo.locks import one_writer
from fdfo.training.interrupt import Interrupted, stop_on_signals

HOUR_S = 3600.0


@dataclass(frozen=True)
class Session:
    """What one command does of a plan."""

    output: Path
    """Folder of the pages, and of the results below it."""
    runs: Path
    """Folder of the training runs."""
    jobs: int | None
    """Runs at a time; None: the plan's, or one for each GPU or core."""
    is_pinned: bool
    """Whether every run is kept on its own cores."""
    hours: float | None
    """After which it stops; None: at the end."""
    page_only: bool
    """Whether only the pages are written, from the results that are there."""
    dry: bool
    """Whether it is only told what is left, and how long it takes."""


def run_compare(plan: Plan, arguments: list[str], session: Session) -> None:
    """Do what is not done of a plan, then write its pages; or write them from the results that are there.

    `arguments` are those that named the plan.
    Exits with 128 + signal number after an interruption.
    """
    results = Results(session.output / "data" / f"{plan.name}.jsonl")
    if session.page_only and not results.found:
        raise ConfigError("the command line", [f"--page-only: {results.path} has no results; leave the option out"])
    conduct = Conduct(plan, results, session.runs, lambda line: say(line, flush=True))
    conduct.prepare()
    if not session.page_only:
        _tell_left(conduct)
    if session.dry:
        return
    if not session.page_only:
        with ExitStack() as stack:
            for place, shared, option in (
                (results.path.parent, results.path, "--output"),
                (session.runs, session.runs, "--runs"),
            ):
                prepare_folder(place)
                stack.enter_context(one_writer(shared, f"wait until it has ended, or give another {option} folder"))
            _go(conduct, session)
    _write(plan, results, session.output, arguments)


def _go(conduct: Conduct, session: Session) -> None:
    until = None if session.hours is None else time.monotonic() + HOUR_S * session.hours
    places = Places(session.jobs or conduct.plan.jobs or default_jobs(), session.is_pinned, until)
    try:
        with stop_on_signals() as stop:
            conduct.go(places, stop)
    except Interrupted as interrupted:
        say("stopped; repeat the command to continue")
        sys.exit(128 + interrupted.signal_number)
    except TimeOver:
        say(f"{session.hours:g} h are over; repeat the command to continue")
        _tell_left(conduct)


def _tell_left(conduct: Conduct) -> None:
    say(told(estimate(conduct.plan, conduct.configurations, conduct.results.ordered)), flush=True)


def _write(plan: Plan, results: Results, output: Path, arguments: list[str]) -> None:
    """NAME.md, its picture NAME.svg, and NAME.html in the output folder."""
    found = results.ordered
    paths = [output / f"{plan.name}.{suffix}" for suffix in ("md", "svg", "html")]
    pages = [markdown(plan, found, f"fdfo compare {' '.join(arguments)}"), svg(plan, found), html(plan, found)]
    for path, text in zip(paths, pages, strict=True):
        write_atomically(path, text)
    say(f"wrote {paths[0]} and {paths[-1]}")
