"""What scores cost: `python -m benchmarks.scores.rewards [--full-size] [--only NAME,NAME] [--output FILE.json]`.

Images a second and memory of every score at batches of 1, 8 and 32, and how much of the scoring a run hides behind
sampling. On a CPU, small networks of the same classes; with `--full-size`, on one CUDA card, the published ones. Both
have random weights and need no download. Each line is printed, and the file rewritten, as soon as it is measured.
"""

import argparse
import gc
import os
import platform
import shlex
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import Module

import fdfo
from benchmarks.scores.network_shapes import PUBLISHED, SMALL
from benchmarks.scores.overlap import EMBEDDED, FULL_SIZE, Overlap, measurements
from benchmarks.scores.reward_cases import IMAGES, Case, cases, loaded, prompts
from benchmarks.speed.timing import peak_bytes, timed
from fdfo.commands.rewards import drawn_pictures
from fdfo.files import write_json
from fdfo.rewards.weighted import WeightedSum

BATCHES = (1, 8, IMAGES)
SECONDS = 0.5
"""Of measuring one batch, beside calls that are not counted."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What one batch of a score costs."""

    score: str
    network: str
    side: int
    """Pixels of the images."""
    batch: int
    parameters: int
    weight_bytes: int
    images_per_s: float
    peak_bytes: int
    """Beside the weights."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What could not be measured, and why."""

    score: str
    network: str = ""
    batch: int | None = None
    failed: str


def asked_about(case: Case, batch: int, device: torch.device) -> tuple[Tensor, list[str], list[Mapping[str, Any]]]:
    """Drawn pictures [B, 3, H, W] with a prompt each, and what the prompts say beside their text."""
    drawn = drawn_pictures(case.side)
    images = drawn.repeat(-(-batch // len(drawn)), 1, 1, 1)[:batch].to(device)
    asked = prompts()[:batch]
    return images, [prompt.text for prompt in asked], [{**prompt.metadata, **case.metadata} for prompt in asked]


def rate(case: Case, reward: WeightedSum, networks: Iterable[Module], batch: int, device: torch.device) -> Rate:
    """Measure a loaded score on one batch of drawn pictures with a prompt each."""
    asked = asked_about(case, batch, device)

    @torch.no_grad()
    def work() -> object:
        return reward(*asked)

    work()
    peak = peak_bytes(work, device)
    weights = [*(w for network in networks for part in (network.parameters(), network.buffers()) for w in part)]
    return Rate(
        score=case.title,
        network=case.network,
        side=case.side,
        batch=batch,
        parameters=sum(parameter.numel() for network in networks for parameter in network.parameters()),
        weight_bytes=sum(weight.nbytes for weight in weights),
        images_per_s=batch / timed(work, SECONDS, device),
        peak_bytes=peak,
    )


def rates(case: Case, device: torch.device) -> Iterator[Rate | Failure]:
    """A score at every batch; what went wrong where it cannot be loaded, or a batch does not fit."""
    try:
        reward, networks = loaded(case, device)
    except Exception as error:  # one score must not end the measurement
        yield Failure(score=case.title, network=case.network, failed=_told(error))
        return
    for batch in BATCHES:
        try:
            yield rate(case, reward, networks, batch, device)
        except Exception as error:  # nor one batch
            yield Failure(score=case.title, network=case.network, batch=batch, failed=_told(error))


def facts(device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    """Where, when and with what this is measured."""
    cores = f"{platform.machine()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} CPU cores"
    chosen = ["--full-size"] * options.full_size + ["--only", options.only] * bool(options.only)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else cores,
        "note": options.note,
        "versions": {module.__name__: module.__version__ for module in (fdfo, torch, transformers)},
        "command": shlex.join(["python", "-m", "benchmarks.scores.rewards", *chosen]),
        "full_size": options.full_size,
    }


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


class Record:
    """Prints what is measured and keeps it in a file."""

    def __init__(self, path: Path, content: dict[str, Any]):
        self.path, self.content, self.start = path, content, time.monotonic()

    def keep(self, kind: str, row: Rate | Overlap | Failure) -> None:
        """Add a row to a list of the file."""
        print(row, flush=True)
        self.content.setdefault(kind, []).append(asdict(row))
        self.content["seconds"] = round(time.monotonic() - self.start)
        write_json(self.path, self.content)


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full-size", action="store_true", help="published sizes, on a CUDA card")
    parser.add_argument(
        "--only", default="", help="titles of scores, and of overlaps as `overlap: TITLE`, separated by commas"
    )
    parser.add_argument("--output", type=Path, default=Path("rewards.json"))
    parser.add_argument("--note", default="", help="about the seconds, such as what else ran on the machine")
    options = parser.parse_args()
    device = torch.device("cuda" if options.full_size else "cpu")
    wanted = set(filter(None, options.only.split(",")))
    record = Record(options.output, facts(device, options))
    with tempfile.TemporaryDirectory() as root:
        found = cases(Path(root), PUBLISHED if options.full_size else SMALL)
        for case in found:
            if not wanted or case.title in wanted:
                for row in rates(case, device):
                    record.keep("rates", row)
                _free(device)
        for title, measure in measurements(found, device, FULL_SIZE if options.full_size else EMBEDDED).items():
            if not wanted or title in wanted:
                try:
                    record.keep("overlaps", measure())
                except Exception as error:  # as above
                    record.keep("overlaps", Failure(score=title, failed=_told(error)))
                _free(device)


if __name__ == "__main__":
    main()
