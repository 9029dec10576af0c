"""One run on 1, 2 and 4 processes: `python -m benchmarks.speed.processes [--output docs/results/processes.md]`.

The same run on the embedded model, with an odd number of pairs, over gloo and torchrun: the largest difference between
adapters, and between the scores of held-out images, the bytes that are exchanged and the seconds waited.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean

from safetensors.torch import load_file

from fdfo.evaluation.runs import read_evaluations, read_events

SETTINGS = ("shapes-smoke", "optim.lr=3e-5", "method.strength=0.04", "prompts.pairs_per_epoch=9", "eval.prompts=13")
COUNTS = (1, 2, 4)


@dataclass(frozen=True)
class Row:
    """A run on some processes, against that on one."""

    processes: int
    adapter_difference: float
    score_difference: float
    bytes_exchanged: int
    waited_s: float
    seconds: float


def train(folder: Path, processes: int) -> None:
    """Run to the end, one thread a process."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [sys.executable, *launcher, "-m", "fdfo", "train", *SETTINGS, "--run-dir", str(folder)]
    subprocess.run(arguments, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def compared(folder: Path, alone: Path, processes: int) -> Row:
    """The numbers of a finished run."""
    adapters = [
        load_file(sorted(run.glob("checkpoints/epoch-*/adapter_model.safetensors"))[-1]) for run in (folder, alone)
    ]
    judged = [read_evaluations(run)[-1] for run in (folder, alone)]
    epochs = [event for event in read_events(folder) if event["event"] == "rollout"]
    return Row(
        processes,
        max(float((adapters[0][name] - value).abs().max()) for name, value in adapters[1].items()),
        float(abs(judged[0].values("reward") - judged[1].values("reward")).max()),
        epochs[-1]["bytes_exchanged"],
        mean(event["waited_s"] for event in epochs),
        mean(sum(event["seconds"].values()) for event in epochs),
    )


def page(rows: list[Row], arguments: list[str]) -> str:
    """The table, with what made it."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "accelerate"))
    lines = [
        "# One run on several processes",
        "",
        f"`{' '.join(['python -m benchmarks.speed.processes', *arguments])}`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{libraries}, gloo, {os.cpu_count()} CPU cores. "
        f"`{' '.join(SETTINGS)}`: 9 pairs, which neither 2 nor 4 divide.",
        "",
        "| processes | largest difference of the adapters | of held-out scores | bytes exchanged an epoch, a process "
        "| seconds waited an epoch | seconds an epoch |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.processes} | {row.adapter_difference:.1e} | {row.score_difference:.1e} | {row.bytes_exchanged:,} "
            f"| {row.waited_s:.2f} | {row.seconds:.2f} |"
            for row in rows
        ),
        "",
        "Differences are to the run on one process: adapter entries are about 0.1, scores about 10, and sums in "
        "another order round differently. Seconds waited are those of process 0 in collective operations: the "
        "transfer and waiting for slower peers; with more processes than cores they are mostly waiting.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/results/processes.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / f"on-{count}" for count in COUNTS]
        for folder, count in zip(folders, COUNTS, strict=True):
            train(folder, count)
        rows = [compared(folder, folders[0], count) for folder, count in zip(folders, COUNTS, strict=True)]
    text = page(rows, sys.argv[1:])
    print(text)
    options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
