"""A run that is made to hack its score, beside the demo: `python -m benchmarks.evidence.hacking`.

Trains on the imperfect, differentiable contrastive score with five times the demo's learning rate, without averaging,
and watches the verifier and the neatness; then trains the demo itself. Writes what each run's alarms said to
docs/results/hacking.md. Resumable.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fdfo.evaluation.report.record import RunRecord, read_run
from fdfo.files import write_atomically

PAGE = Path("docs/results/hacking.md")
HACK = (
    "reward=[{name: shapes-contrastive}]",
    "eval.rewards=[shapes-verifier, shapes-neatness]",
    "optim.lr=1.0e-3",
    "optim.ema=null",
    "train.epochs=50",
    "eval.every=10",
)


def train(folder: Path, *overrides: str) -> RunRecord:
    """A run of the recipe `shapes`, or what is there of it."""
    command = [sys.executable, "-m", "fdfo", "train", "shapes", *overrides, "--run", str(folder)]
    subprocess.run(command, check=True)
    return read_run(folder)


def table(record: RunRecord) -> list[str]:
    """A line for every evaluation: scores and signals, and the alarms that it raised."""
    names = [score.label for score in record.scores]
    keys = [score.key for score in record.scores]
    lines = [f"| epoch | {' | '.join(names)} | diversity | velocity RMS | sharpness | alarms |"]
    lines.append("|---|" + "---|" * (len(names) + 4))
    for past in record.evaluations:
        cells = [str(past.interval(key)) for key in (*keys, "diversity", "velocity_rms", "sharpness")]
        raised = ", ".join(alarm.name for alarm in record.alarms if alarm.epoch == past.epoch) or "none"
        lines.append(f"| {past.epoch} | {' | '.join(cells)} | {raised} |")
    return lines


def page(hacked: RunRecord, normal: RunRecord) -> str:
    messages = [f"- epoch {alarm.epoch}, {alarm.name}: {alarm.message}" for alarm in hacked.alarms]
    return "\n".join(
        [
            "# Alarms: a run that hacks its score, and the demo",
            "",
            f"Written by `python -m benchmarks.evidence.hacking` on {datetime.now(UTC).date().isoformat()}: fdfo "
            f"{version('fdfo')}, torch {version('torch')}, seed 0 of each. Held-out captions of the split "
            "`validation`; means with 95 % bootstrap intervals over captions. The rules stand in "
            "[design.md](../design.md#alarms).",
            "",
            "## Made to hack",
            "",
            "Recipe `shapes` with " + ", ".join(f"`{text}`" for text in HACK) + ".",
            "",
            *table(hacked),
            "",
            "What the alarms said:",
            "",
            *messages,
            "",
            "## The demo",
            "",
            "Recipe `shapes` as it is.",
            "",
            *table(normal),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/hacking"))
    parser.add_argument("--demo", type=Path, default=Path("runs/demo-seeds/seed-0"), help="folder of the demo's run")
    options = parser.parse_args()
    write_atomically(PAGE, page(train(options.root, *HACK), train(options.demo)))


if __name__ == "__main__":
    main()
