"""Several processes of one job on this machine, without a launcher: the first starts the others."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from fdfo.errors import ConfigError

STARTED = "FDFO_STARTED"
"""Environment variable of a process that another one has started here."""

GRACE_S = 30.0
"""How long all the others may take to end after the first: what is kept is written by then."""


@contextmanager
def processes(count: int) -> Iterator[None]:
    """Inside, this process is the first of `count` that run the same command, as under torchrun.

    Each computes with its share of the cores, or OMP_NUM_THREADS, and on its own GPU where there are some. Raises
    ConfigError where a launcher has started several already.
    """
    if count == 1 or STARTED in os.environ:
        yield
        return
    if "RANK" in os.environ:
        raise ConfigError("the command line", ["--processes: a launcher has started processes already; leave it out"])
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, torch.get_num_threads() // count))
    job = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": threads,
    }
    before, own_threads = dict(os.environ), torch.get_num_threads()
    others = [_start(rank, job) for rank in range(1, count)]
    os.environ.update({**job, "RANK": "0", "LOCAL_RANK": "0"})
    torch.set_num_threads(int(threads))
    try:
        yield
    finally:
        _end(others)
        torch.set_num_threads(own_threads)
        os.environ.clear()
        os.environ.update(before)


def _start(rank: int, job: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **job, "RANK": str(rank), "LOCAL_RANK": str(rank), STARTED: "1"}
    command = [sys.executable, "-m", "fdfo", *sys.argv[1:]]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def _end(others: Sequence[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + GRACE_S
    for other in others:
        with suppress(subprocess.TimeoutExpired):
            other.wait(max(0.0, until - time.monotonic()))
        other.kill()
        other.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
