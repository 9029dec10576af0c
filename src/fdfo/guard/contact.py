"""The guard itself: what is called through it leaves no traces but what it returns, and fails in one way."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import current_thread, main_thread
from traceback import extract_tb
from types import FrameType
from typing import Any, TypeVar

from fdfo.background import Late
from fdfo.errors import FdfoError, Interrupted, is_out_of_memory, said

T = TypeVar("T")

OURS = Path(__file__).parents[1]

_was_interrupted = False
"""Whether Ctrl-C was pressed since contact began, for KeyboardInterrupt may also be raised by what is called."""


class Guard:
    """All contact with one thing: its import, making, loading and every call."""

    def __init__(
        self, what: str, error: type[FdfoError], *, is_ours: bool = False, timeout_s: float | None = None
    ) -> None:
        """`what` names it in messages, which are raised as `error`. Ours is trusted to leave the process as it is.

        A bounded call that takes longer than timeout_s is given up; its thread is left to itself.
        """
        self.what, self.error, self.is_ours, self.timeout_s = what, error, is_ours, timeout_s

    def __call__(self, when: str, work: Callable[[], T], *, remedy: str = "", bounded: bool = False) -> T:
        """What `work` returns; afterwards the process is as it was.

        However it leaves, an `error` names it, `when`, and its line. Our own errors, Ctrl-C and a stop pass. Running
        out of memory stays of its kind, for callers that try again; with a remedy it is named as well.
        """
        try:
            return self._within(work) if bounded and self.timeout_s is not None else self._alone(work)
        except (FdfoError, Interrupted):
            raise
        except BaseException as error:
            by_the_user = isinstance(error, KeyboardInterrupt) and _was_interrupted
            if by_the_user or (self.is_ours and not isinstance(error, Exception)):
                raise
            if is_out_of_memory(error):
                if not remedy:
                    raise
                import torch

                raise torch.OutOfMemoryError(f"{self.what} ran out of memory {when}; {remedy}") from error
            raise self.error(f"{self.what} failed {when}: {self._reason(error)}{raised_at(error)}") from error

    def _alone(self, work: Callable[[], T]) -> T:
        if self.is_ours:
            return work()
        from fdfo.guard.process import put_back

        with put_back():
            _tell_interrupts_apart()
            return work()

    def _within(self, work: Callable[[], T]) -> T:
        from fdfo.guard.deadline import within

        assert self.timeout_s is not None
        seconds = self.timeout_s
        return self._alone(lambda: within(seconds, work))

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, Late):
            return f"no answer within timeout_s={self.timeout_s:g}"
        return f"{type(error).__name__}: {said(error)}".removesuffix(": ")


def is_ours(thing: Any) -> bool:
    """Whether a function, class or object is part of this package."""
    module = getattr(thing, "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] == "fdfo"


def raised_at(error: BaseException) -> str:
    """Where the part of its trace that is not ours begins, as " (file.py:12)"; empty when it has none."""
    libraries = [sys.modules.get(name) for name in ("importlib", "torch")]
    passed = [OURS, *(Path(library.__file__).parent for library in libraries if library and library.__file__)]
    for frame in extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if not frame.filename.startswith("<frozen") and not any(folder in path.parents for folder in passed):
            return f" ({path.name}:{frame.lineno})"
    return ""


def interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Handler of Ctrl-C that raises KeyboardInterrupt, and remembers that it was the user who asked for it."""
    global _was_interrupted
    _was_interrupted = True
    raise KeyboardInterrupt


def _tell_interrupts_apart() -> None:
    """By a handler in place of Python's own, which is put back with everything else."""
    global _was_interrupted
    _was_interrupted = False
    if current_thread() is main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
