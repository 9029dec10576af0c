"""What the first second of a command costs: `python -m benchmarks.speed.imports [--repetitions 5]`.

Writes docs/results/imports.md. Each number is the processor time, user and system, of a process of its own.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "results" / "imports.md"

RUN = ("train", "shapes-smoke", "--run")

COMMANDS: Mapping[str, Sequence[str]] = {
    "`python -c pass`": ("-c", "pass"),
    "`import torch`": ("-c", "import torch"),
    "`fdfo --help`": ("-m", "fdfo", "--help"),
    "`fdfo train shapes optim.lrr=1`, a misspelt key": ("-m", "fdfo", "train", "shapes", "optim.lrr=1"),
    "`fdfo train shapes 'reward=[jpge]'`, a misspelt score": ("-m", "fdfo", "train", "shapes", "reward=[jpge]"),
    "`fdfo train shapes-smoke`, until its first line": ("-m", "fdfo", *RUN),
    "all that training imports": ("-c", "import fdfo.training.loop"),
}
"""Arguments of Python by what they are called on the page; a run is killed at its first line."""

WHOLE = "import fdfo.training.loop"
"""What a training run imports before it begins."""

LARGEST = 12
"""Packages of the second table."""

_LINE = re.compile(r"import time:\s*(?P<own>\d+) \|\s*(?P<all>\d+) \|(?P<indent> *)(?P<name>\S+)")


def seconds(arguments: Sequence[str], folder: Path) -> float:
    """Processor time of Python with these arguments; of a run, until its first line is there."""
    if arguments[-len(RUN) :] == RUN:
        arguments = (*arguments, str(folder / "run"))
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout as output:
        if RUN[0] in arguments and "--run" in arguments:
            output.readline()
            process.kill()
        output.read()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # waited for above
    return usage.ru_utime + usage.ru_stime


def repeated(measure: Callable[[], float], count: int) -> str:
    """Median, least and most of several measurements after one that is not counted, which reads the disk."""
    measure()
    found = [measure() for _ in range(count)]
    return f"{statistics.median(found):.2f} [{min(found):.2f}, {max(found):.2f}]"


def by_package(told: str) -> dict[str, float]:
    """Seconds of import by package, largest first, of what `python -X importtime` told.

    A module counts for the package that it is part of, whoever imports it.
    """
    found: defaultdict[str, float] = defaultdict(float)
    for match in map(_LINE.fullmatch, told.splitlines()):
        if match is not None:
            found[match["name"].partition(".")[0]] += int(match["own"]) / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1]))


HEAD = """# The first second

Written by `python -m benchmarks.speed.imports`: processor seconds of a process of its own, user and system, as median
[least, most] of {count} repetitions after one that is not counted; Python {python}, torch {torch}, one thread on
one core of {processor}. Other programs may run beside it, so what is to be compared is each number with `import torch`.

| command | s |
|---|---|
"""

PACKAGES = """
What can be told without torch is told before it is imported: keys, values and names of a recipe, files that are not
there, `--help`, `fdfo init` ([test](../../tests/test_imports.py)). Before that was so, a misspelt key and the first
line of a run cost 13.3 and 12 processor seconds, where `import torch` cost 2.8.

What is left is of libraries that training needs, by `python -X importtime` (one run, elapsed seconds). What torch costs
beyond `import torch` are parts of it that diffusers, transformers, peft and bitsandbytes import themselves.

| package | s |
|---|---|
"""


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    count = parser.parse_args().repetitions
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [f"| {name} | {repeated(partial(seconds, call, place), count)} |" for name, call in COMMANDS.items()]
    told = subprocess.run([sys.executable, "-X", "importtime", "-c", WHOLE], capture_output=True, text=True).stderr
    packages = by_package(told)
    rest = sum([*packages.values()][LARGEST:])
    parts = [*[*packages.items()][:LARGEST], (f"{len(packages) - LARGEST} others", rest)]
    version = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True
    ).stdout.strip()
    facts = {"count": count, "python": platform.python_version(), "torch": version, "processor": platform.machine()}
    lines = [HEAD.format(**facts), "\n".join(rows), "\n", PACKAGES]
    lines += ["\n".join(f"| {name} | {value:.2f} |" for name, value in parts), "\n"]
    PAGE.write_text("".join(lines), encoding="utf-8")
    print("".join(lines))


if __name__ == "__main__":
    main()
