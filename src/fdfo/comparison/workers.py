"""Several runs at a time, each in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from fdfo.comparison.cells import Run
from fdfo.machine import usable_cores
from fdfo.training.interrupt import StopRequest

POLL_S = 0.1

COMMAND = (sys.executable, "-m", "fdfo.comparison.one_run")
"""What trains one run, given its configuration and its folder."""


class TimeOver(Exception):
    """The time that a comparison was given is over; what was under way has saved its state."""


@dataclass(frozen=True)
class Places:
    """How many runs are made at a time, where, and until when."""

    at_a_time: int
    is_pinned: bool = False
    """Whether every run is kept on its own share of the cores."""
    until: float | None = None
    """Time on the monotonic clock at which to stop; None: at the end."""

    @property
    def is_over(self) -> bool:
        return self.until is not None and time.monotonic() >= self.until

    def cores(self, slot: int) -> set[int]:
        """A slot's share of the cores that this process may use; one at least."""
        every = usable_cores()
        size = max(1, len(every) // self.at_a_time)
        return {every[(slot * size + index) % len(every)] for index in range(size)}


@dataclass(frozen=True)
class Job:
    """A run that is to be trained: the file with its configuration, beside its folder."""

    run: Run
    config: Path

    @property
    def folder(self) -> Path:
        return self.config.with_suffix("")

    @property
    def log(self) -> Path:
        return self.config.with_suffix(".log")


@dataclass(frozen=True)
class _Started:
    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def close(self) -> None:
        """Close the files of a process that has ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.log.close()


def default_jobs() -> int:
    """One for each GPU, or for each core that this process may use."""
    return torch.cuda.device_count() or len(usable_cores())


def run_all(jobs: Sequence[Job], places: Places, stop: StopRequest, ended: Callable[[Job, str | None], None]) -> None:
    """Train all jobs, and call `ended` with what went wrong, or None, after each.

    A job that fails does not stop the others. Raises Interrupted after a signal, and TimeOver, once those under way
    have saved.
    """
    waiting, slots, running = list(jobs), list(range(places.at_a_time)), list[_Started]()
    while waiting or running:
        if stop.signal_number is not None or places.is_over:
            _interrupt(running)
            stop.check()
            raise TimeOver
        while waiting and slots:
            running.append(_start(waiting.pop(0), slots.pop(0), places))
        time.sleep(POLL_S)
        for one in [one for one in running if one.process.poll() is not None]:
            running.remove(one)
            slots.append(one.slot)
            if one.process.returncode != 0 and stop.signal_number is not None:
                continue  # interrupted along with this process
            ended(one.job, _failure(one))


def _start(job: Job, slot: int, places: Places) -> _Started:
    """Start a job, with its share of the cores and one of the GPUs."""
    cores = places.cores(slot)
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "TOKENIZERS_PARALLELISM": "false"}
    if gpus := torch.cuda.device_count():
        own = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        environment["CUDA_VISIBLE_DEVICES"] = own[slot % gpus]
    log = job.log.open("wb")
    process = subprocess.Popen(
        [*COMMAND, str(job.config), str(job.folder)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Ctrl-C in a terminal is for the process that started them; it tells them
    )
    if places.is_pinned:
        os.sched_setaffinity(process.pid, cores)
    return _Started(job, slot, process, log)


def _interrupt(running: Sequence[_Started]) -> None:
    """Let all that is under way save its state and end."""
    for one in running:
        one.process.send_signal(signal.SIGTERM)
    for one in running:
        one.process.wait()
        one.close()


def _failure(one: _Started) -> str | None:
    """Why a job that has ended failed; None if it did not."""
    one.close()
    if one.process.returncode == 0:
        return None
    lines = one.job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1].removeprefix("error: ") if lines else "no output"
    code = one.process.returncode
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{said} ({how})"
