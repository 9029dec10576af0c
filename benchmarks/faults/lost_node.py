"""A machine that is lost under torchrun: two agents on this one, of which one is killed with its process."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.faults.runs import Ended, command

SMOOTH = ("optim.lr=3e-5", "method.strength=0.04")
"""As in the tests of invariance: the rest of the run is on another number of processes, which rounds differently."""

FIRST_EPOCH_S = 300.0


def kill(agent: subprocess.Popen[bytes]) -> None:
    """SIGKILL for an agent and the process that it has started."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    agent.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    agent.wait()


def agent(folder: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    """One machine's torchrun, as docs/scaling.md has it."""
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=faults"]
    elastic = ["--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-conf=last_call_timeout=5"]
    arguments = ["-m", "torch.distributed.run", *meeting, *elastic, "-m", "fdfo", *command(folder, *SMOOTH)]
    with open(log, "w") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output, env=environment)


def lost_node(folder: Path) -> Ended:
    """The first machine goes on alone from the last checkpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, start = folder.with_suffix(".log"), time.monotonic()
    first = agent(folder, port, log)
    time.sleep(1)
    second = agent(folder, port, folder.with_suffix(".second.log"))
    while not (folder / "checkpoints" / "epoch-0000001" / "complete.json").is_file():
        if first.poll() is not None or time.monotonic() > start + FIRST_EPOCH_S:
            kill(second)
            raise RuntimeError(log.read_text())
        time.sleep(0.02)
    kill(second)
    first.wait()
    return Ended(first.returncode, log.read_text(), time.monotonic() - start)
