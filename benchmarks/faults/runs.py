"""Small runs of the command line in processes of their own, into which a fault can be put.

The processes are forks of this one: each starts with everything imported, and with its one thread.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import fdfo.training.run  # noqa: F401  here, so that no process has to
from fdfo.cli import main
from fdfo.models.policy import FlowPolicy
from fdfo.models.weights import TrainableWeights
from fdfo.rewards.contrastive import ContrastiveScore
from fdfo.training.phases import Phases

SETTINGS = (
    "shapes-smoke",
    "method.steps=3",
    "prompts.pairs_per_epoch=5",
    "train.epochs=3",
    "optim.updates_per_epoch=3",
    "eval.prompts=4",
    "eval.every=2",
    "eval.steps=2",
)

Prepare = Callable[[], object]
"""Called in a new process before the command: where a fault is put in."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    """Exit code, or minus the signal that killed it."""
    output: str
    seconds: float

    @property
    def told(self) -> str:
        """The line that tells a person why it ended."""
        lines = [line for line in self.output.splitlines() if line.startswith(("error: ", "stopped", "out of memory"))]
        return lines[-1] if lines else ""


def command(folder: Path, *more: str) -> list[str]:
    """Arguments of the training command."""
    return ["train", *SETTINGS, *more, "--run-dir", str(folder)]


def start(arguments: list[str], log: Path, prepare: Prepare = lambda: None) -> int:
    """Begin `fdfo ...` in a process of its own, which writes to `log`; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["fdfo", *arguments]
        prepare()
        main()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finish(child: int, log: Path, since: float) -> Ended:
    """Wait for a process that was started."""
    _, status = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), log.read_text(), time.monotonic() - since)


def run(folder: Path, *more: str, prepare: Prepare = lambda: None) -> Ended:
    """The training command from its start to its end."""
    log, since = folder.with_suffix(".log"), time.monotonic()
    return finish(start(command(folder, *more), log, prepare), log, since)


def in_phase(name: str, act: Callable[[], object]) -> None:
    """Call `act` inside the phase `name`, when the run is in it for the second time."""
    entered = 0
    original = Phases.__call__

    @contextmanager
    def watched(self: Phases, phase: str) -> Iterator[None]:
        nonlocal entered
        entered += phase == name
        with original(self, phase):
            if phase == name and entered == 2:
                act()
            yield

    Phases.__call__ = watched  # type: ignore[method-assign]


WORK: dict[str, tuple[type, str]] = {
    "encode": (FlowPolicy, "_encode_one"),
    "sample": (FlowPolicy, "_network"),
    "decode": (FlowPolicy, "decode"),
    "score": (ContrastiveScore, "__call__"),
    "train": (FlowPolicy, "_network"),
    "evaluate": (FlowPolicy, "_network"),
    "save": (TrainableWeights, "save"),
}
"""Where a phase computes."""


def at_work(name: str, act: Callable[[], object]) -> None:
    """Call `act` once, where the phase `name` computes, or writes, the second time that the run is in it."""
    armed = False

    def arm() -> None:
        nonlocal armed
        armed = True

    def work(*arguments: Any, **options: Any) -> Any:
        nonlocal armed
        if armed:
            armed = False
            act()
        return original(*arguments, **options)

    in_phase(name, arm)
    owner, method = WORK[name]
    original = getattr(owner, method)
    setattr(owner, method, work)


def final_adapter(folder: Path) -> dict[str, Tensor]:
    """The last checkpoint's adapter."""
    return load_file(sorted((folder / "checkpoints").glob("epoch-*"))[-1] / "adapter_model.safetensors")


def difference(first: Path, second: Path) -> float:
    """Largest absolute difference between the final adapters of two runs; 0.0 where they are equal bit for bit."""
    a, b = final_adapter(first), final_adapter(second)
    return max(0.0 if torch.equal(a[name], b[name]) else float((a[name] - b[name]).abs().max()) for name in a)
