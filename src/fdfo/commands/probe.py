"""`fdfo probe`."""

import json
import sys
from pathlib import Path

from fdfo.commands.output import prepare_folder
from fdfo.commands.terminal import say
from fdfo.comparison.cells import Configurations
from fdfo.comparison.plan import Plan
from fdfo.comparison.probe import Probed, Prober
from fdfo.comparison.probe_page import probe_markdown
from fdfo.comparison.refusals import refuse_unsound
from fdfo.errors import ConfigError
from fdfo.files import finite, write_atomically
from fdfo.locks import one_writer
from fdfo.own import sound_lines
from fdfo.training.distributed import this_team
from fdfo.training.interrupt import Interrupted, stop_on_signals
from fdfo.words import plural


def run_probe(
    plan: Plan, arguments: list[str], batches: int, checkpoint: Path | None, output: Path, page_only: bool
) -> None:
    """Probe all cells of a plan and write the page, or write it from the measurements that are there.

    `arguments` are those that named the plan.
    Exits with 128 + signal number after an interruption; what was measured until then is kept.
    """
    data = output / "data" / f"{plan.name}-probe.jsonl"
    if page_only:
        if not data.is_file():
            raise ConfigError("the command line", [f"--page-only: no file {data}; leave the option out"])
        probed = sound_lines(data, Probed.from_dict)
    else:
        configurations = Configurations(plan)
        refuse_unsound(configurations)
        prepare_folder(data.parent)
        probed: list[Probed] = []

        def keep(one: Probed) -> None:
            probed.append(Probed.from_dict(one.to_dict()))  # as it is read from the file: the same page
            lines = [json.dumps(finite(one.to_dict()), allow_nan=False) + "\n" for one in probed]
            write_atomically(data, "".join(lines))
            say(f"{one.cell} on {one.score}: {plural(len(one.products.own), 'estimate')}", flush=True)

        try:
            with (
                one_writer(data, "wait until it has ended, or give another --output folder"),
                stop_on_signals() as stop,
            ):
                Prober(configurations, batches, checkpoint, this_team(), stop).go(keep)
        except Interrupted as interrupted:
            sys.exit(128 + interrupted.signal_number)
    page = output / f"{plan.name}-probe.md"
    write_atomically(page, probe_markdown(plan, probed, f"fdfo probe {' '.join(arguments)}"))
    say(f"wrote {page}")
