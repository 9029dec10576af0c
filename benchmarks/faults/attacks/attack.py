"""One attack: a command in a process of its own, and whether what came of it is what is promised."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.runs import Ended, start

LIMIT_S = 60.0
"""An attack that takes longer hangs."""

SMALL = (
    "shapes-smoke",
    "method.steps=2",
    "prompts.pairs_per_epoch=2",
    "train.epochs=1",
    "eval.prompts=2",
    "eval.steps=2",
)
"""A run of about a second."""


@dataclass(frozen=True)
class Result:
    """What came of an attack."""

    kind: str
    what: str
    failure: str
    """Why it was not held; empty: it was."""
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: {self.failure or 'held'} ({self.seconds:.1f} s)"


def attacked(
    kind: str,
    what: str,
    arguments: Iterable[object],
    log: Path,
    *,
    codes: Iterable[int] = (0, 1, 2),
    says: str = "",
    check: Callable[[], str] = lambda: "",
) -> Result:
    """Run a command. Held: it ends in time, by itself, with one of these codes, without a traceback, and says `says`.

    `check` gives what is wrong with what it left behind.
    """
    since = time.monotonic()
    ended = _within(start([*map(str, arguments)], log), log, since)
    return Result(kind, what, _failure(ended, set(codes), says) or check(), time.monotonic() - since)


def _failure(ended: Ended, codes: set[int], says: str) -> str:
    if ended.code == -signal.SIGKILL:
        return f"still running after {LIMIT_S:g} s"
    if "Traceback (most recent call last)" in ended.output:
        return f"a traceback: {ended.output.strip().splitlines()[-1][:120]}"
    if ended.code not in codes:
        return f"exit code {ended.code}: {(ended.output.strip() or 'nothing said').splitlines()[-1][:120]}"
    return "" if says in ended.output else f"did not say {says!r}"


def _within(child: int, log: Path, since: float) -> Ended:
    """Wait for a process, no longer than the limit."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return Ended(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"), time.monotonic() - since)
        if time.monotonic() - since > LIMIT_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
