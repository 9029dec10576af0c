"""The faults. Each case starts a run, disturbs it, and mends what it did to the machine; the run is then repeated."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.faults.hub import lost_hub
from benchmarks.faults.lost_node import SMOOTH, lost_node
from benchmarks.faults.runs import Ended, at_work, in_phase, run
from fdfo.evaluation.runs import read_events
from fdfo.training.phases import PHASES

NOTICE_S = 30.0
"""From SIGTERM to SIGKILL, as schedulers give."""


def killed(phase: str) -> Callable[[Path], Ended]:
    """SIGKILL, where a phase computes."""
    return lambda folder: run(folder, prepare=lambda: at_work(phase, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def out_of_memory(phase: str) -> Callable[[Path], Ended]:
    """What CUDA raises when the device is full: where batches can be halved the run goes on, to equal sums."""

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory (injected)")

    return lambda folder: run(folder, *SMOOTH, prepare=lambda: at_work(phase, full))


def terminated(folder: Path) -> Ended:
    """SIGTERM; the run must have saved and left within the notice."""

    def send() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, NOTICE_S)

    return run(folder, prepare=lambda: in_phase("train", send))


def jumping_clock(folder: Path) -> Ended:
    """The wall clock jumps by up to a day, forwards and back, at every look at it."""

    def prepare() -> None:
        clock, jumps = time.time, random.Random(0)
        time.time = lambda: clock() + jumps.uniform(-86400, 86400)

    ended = run(folder, prepare=prepare)
    seconds = [value for event in read_events(folder) for value in event.get("seconds", {}).values()]
    assert min(seconds) >= 0 and sum(seconds) < ended.seconds, "seconds follow the wall clock"
    return ended


def full_disk(folder: Path) -> Ended:
    """A disk of 64 MB that is full when the second checkpoint is written."""
    filler = folder / "filler"

    def fill() -> None:
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    ended = run(folder, prepare=lambda: in_phase("save", fill))
    filler.unlink()
    return ended


def read_only(folder: Path) -> Ended:
    """The folder of checkpoints becomes read-only, for root too, when the second one is written."""
    checkpoints = folder / "checkpoints"

    def freeze() -> None:
        subprocess.run(["mount", "--bind", str(checkpoints), str(checkpoints)], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(checkpoints)], check=True)

    ended = run(folder, prepare=lambda: in_phase("save", freeze))
    subprocess.run(["umount", str(checkpoints)], check=True)
    return ended


@contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """Afterwards, nothing is mounted on the folder."""
    try:
        yield
    finally:
        for path in (folder / "checkpoints", folder):
            if os.path.ismount(path):
                subprocess.run(["umount", str(path)], check=True)


@dataclass(frozen=True)
class Case:
    """A fault, and what is asked of the run that meets it."""

    disturb: Callable[[Path], Ended]
    """Runs into the fault in a new run folder; how that start ended."""
    repeats: bool = True
    """Whether the command is then repeated; otherwise the case has brought the run to its end."""
    settings: tuple[str, ...] = ()
    """Beyond the usual ones."""
    tolerance: float = 0.0
    """Largest allowed difference to the adapter of the undisturbed run; 0 is bit for bit."""


CASES: dict[str, Case] = {
    **{f"killed in {phase}": Case(killed(phase)) for phase in PHASES},
    **{f"out of memory in {phase}": Case(out_of_memory(phase), settings=SMOOTH, tolerance=1e-6) for phase in PHASES},
    "SIGTERM with 30 s notice": Case(terminated),
    "full disk while saving": Case(full_disk),
    "checkpoints read-only": Case(read_only),
    "clock that jumps": Case(jumping_clock),
    "hub stalls while loading": Case(lost_hub, repeats=False),
    "node lost under torchrun": Case(lost_node, repeats=False, settings=SMOOTH, tolerance=1e-6),
}
