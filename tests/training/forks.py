"""Several processes as forks of this one: a job of two or three without importing everything anew."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from accelerate.state import AcceleratorState
from torch.distributed import TCPStore

from fdfo.cli import main


def forked(processes: int, work: Callable[[int], object], timeout_s: float = 120.0) -> list[int]:
    """Call work(rank) in `processes` connected processes; their exit codes, 0 or 1, or minus the fatal signal.

    All are killed, and the test fails, when they take longer than timeout_s.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # here, as torchrun's agent has it
    children = [_fork(rank, processes, store.port, work) for rank in range(processes)]
    codes: dict[int, int] = {}
    deadline = time.monotonic() + timeout_s
    while len(codes) < processes:
        for child in children:
            pid, status = os.waitpid(child, os.WNOHANG) if child not in codes else (0, 0)
            if pid:
                codes[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            for child in set(children) - codes.keys():
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            raise AssertionError(f"still running after {timeout_s} s; exit codes so far: {list(codes.values())}")
        time.sleep(0.02)
    return [codes[child] for child in children]


def _fork(rank: int, processes: int, port: int, work: Callable[[int], object]) -> int:
    def join_in() -> None:
        names = {"OMP_NUM_THREADS": 1, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        os.environ.update({"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"})
        os.environ.update({name: str(value) for name, value in names.items()})
        work(rank)

    return _child(join_in)


@contextmanager
def started(work: Callable[[], object]) -> Iterator[int]:
    """One process that does some work, by its id; killed at the end, where it has not been."""
    child = _child(work)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


class Command:
    """The command line as a fork of this process, with the face of subprocess.Popen: its output comes on `stdout`."""

    def __init__(self, *arguments: str):
        reader, writer = os.pipe()

        def work() -> None:
            os.close(reader)
            os.dup2(writer, 1), os.dup2(writer, 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
            sys.argv = ["fdfo", *arguments]
            main()

        self.pid = _child(work)
        os.close(writer)
        self.stdout = os.fdopen(reader)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 120.0) -> tuple[str, None]:
        """All that it still says; it is killed, and its returncode -9, where it takes longer."""
        watchdog = threading.Timer(timeout, self.kill)
        watchdog.start()
        with self.stdout:
            output = self.stdout.read()
        watchdog.cancel()
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        return output, None


def _child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        AcceleratorState._reset_state(reset_partial_state=True)  # the parent's, of one process
        work()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
