"""Attack the command line: `python -m benchmarks.faults.attacks [--quick] [--seed 0] [--kinds A,B] [--page FILE]`.

One line for each attack and a total at the end; exits with 1 if one was not held. --quick takes less than two minutes.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults.attacks.attack import Result
from benchmarks.faults.attacks.kinds import KINDS, QUICK, WHOLE

MARK = "<!-- figures of benchmarks.faults.attacks -->"
"""What stands above and below the figures of a page."""


def table(results: Sequence[Result], words: str) -> str:
    """How many of each kind were held."""
    lines = [words, "", "| kind | attacks | held | longest |", "|---|---|---|---|"]
    for kind in dict.fromkeys(result.kind for result in results):
        mine = [result for result in results if result.kind == kind]
        held = sum(not result.failure for result in mine)
        lines.append(f"| {kind} | {len(mine)} | {held} | {max(result.seconds for result in mine):.1f} s |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--page", type=Path, default=None)
    options = parser.parse_args()
    counts, results, since = QUICK if options.quick else WHOLE, [], time.monotonic()
    for kind in options.kinds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for result in KINDS[kind](Path(folder), counts[kind], random.Random(options.seed)):
                print(result, flush=True)
                results.append(result)
    held = sum(not result.failure for result in results)
    total = f"{held} of {len(results)} held, {time.monotonic() - since:.0f} s"
    print(total)
    if options.page is not None:
        call = f"`python -m benchmarks.faults.attacks{' --quick' * options.quick} --seed {options.seed}`: {total}."
        before, _, after = options.page.read_text(encoding="utf-8").split(MARK)
        options.page.write_text(f"{before}{MARK}\n\n{table(results, call)}\n\n{MARK}{after}", encoding="utf-8")
    return 0 if held == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
