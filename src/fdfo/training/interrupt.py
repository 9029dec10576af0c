"""Ctrl-C and SIGTERM: finish the piece of work at hand, save, and say how to continue."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fdfo.errors import Interrupted
from fdfo.guard.contact import interrupt

ECHO_S = 1.0
"""Within so many seconds a signal is the same one, come by another way: a scheduler signals every process of a job, and
torchrun passes on what it gets itself."""


class StopRequest:
    """Remembers the first signal; one that comes later ends the process, after what `before_leaving` does."""

    def __init__(self) -> None:
        self.before_leaving: Callable[[], None] = lambda: None
        self.signal_number: int | None = None
        self._received = 0.0

    def check(self) -> None:
        """Raise Interrupted if a stop was asked for; called where stopping is harmless."""
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)

    def receive(self, signal_number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        if self.signal_number is None:
            self.signal_number, self._received = signal_number, time.monotonic()
            os.write(2, b"\nstopping: finishing the work at hand, then saving; once more stops at once\n")
        elif time.monotonic() - self._received > ECHO_S:
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self.before_leaving()
            signal.raise_signal(signal_number)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM while a run is going; restores the handlers. Only in the main thread."""
    request = StopRequest()
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, request.receive) for number in signals]
    except ValueError:  # not the main thread: the embedding program handles signals
        yield request
        return
    try:
        yield request
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
