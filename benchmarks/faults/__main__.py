"""Try the faults: `python -m benchmarks.faults [NAME...] [--output FILE]`; a NAME is a part of a case's.

Each case starts a run on the embedded model and disturbs it; the command is then repeated. The final adapter must equal
that of the undisturbed run. Prints a table, and writes it where all cases were tried; exits with 1 if one fails. Needs
Linux, and root for the full disk and the read-only folder.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.faults.cases import CASES, Case, unmounted
from benchmarks.faults.runs import Ended, difference, run


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was disturbed."""

    name: str
    first: Ended
    difference: float
    passed: bool

    @property
    def line(self) -> str:
        """One line of the table."""
        equal = "equal" if self.difference == 0 else f"within {self.difference:.0e}"
        told = self.first.told.replace("|", "/") or "nothing"
        verdict = equal if self.passed else f"**{equal}: failed**"
        return f"| {self.name} | {self.first.code} | {told} | {self.first.seconds:.0f} | {verdict} |"


def tried(name: str, case: Case, root: Path) -> Outcome:
    """Disturb a run, repeat it, and compare it with an undisturbed one of the same settings."""
    number = list(CASES).index(name)
    folder, expected = root / f"run-{number}", root / f"undisturbed{'-'.join(case.settings).replace('/', '')}"
    if not expected.is_dir() and (ended := run(expected, *case.settings)).code:
        raise RuntimeError(ended.output)
    with unmounted(folder):
        first = case.disturb(folder)
        if case.repeats and (second := run(folder, *case.settings)).code:
            raise RuntimeError(f"{name}: the repeated command failed\n{second.output}")
        gap = difference(folder, expected)
    is_orderly = "Traceback" not in first.output and first.code <= 128 + 15
    return Outcome(name, first, gap, is_orderly and gap <= case.tolerance)


def page(outcomes: list[Outcome]) -> str:
    """The table, with what made it."""
    return "\n".join(
        [
            "# Faults",
            "",
            f"`python -m benchmarks.faults`, {datetime.now(UTC):%Y-%m-%d}, torch {version('torch')}, CPU, one thread. "
            "Every run was disturbed in its second epoch (second evaluation, second checkpoint), and its command "
            "repeated. The last column compares its final adapter with the undisturbed run's: equal: to the bit.",
            "",
            "| fault | exit code | what it told | seconds | adapter at the end |",
            "|---|---|---|---|---|",
            *(outcome.line for outcome in outcomes),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("docs/results/faults.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [name for name in CASES if not options.names or any(part in name for part in options.names)]
    outcomes = []
    with tempfile.TemporaryDirectory() as root:
        for name in chosen:
            outcomes.append(tried(name, CASES[name], Path(root)))
            print(outcomes[-1].line.replace(root, ""), flush=True)
        text = page(outcomes).replace(root, "") + "\n"
    if len(chosen) == len(CASES):
        options.output.write_text(text, encoding="utf-8")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
