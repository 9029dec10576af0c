"""Work in a thread of its own, whose outcome is fetched later."""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Late(Exception):
    """The work takes longer than it may."""


POLL_S = 0.2
"""How often waiting looks up, so that an interruption is noticed."""


class Background(Generic[T]):
    """Work that has begun. The thread is a daemon: a program that ends does not wait for a server that is away."""

    def __init__(self, work: Callable[[], T]):
        self._work, self._done = work, Event()
        self._results: list[T] = []
        self._error: BaseException | None = None
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self, watch: Callable[[], None] = lambda: None, within_s: float = float("inf")) -> T:
        """What the work returned, or raise what it raised. Calls `watch`, which may raise, while waiting.

        Raises Late where it takes longer than within_s.
        """
        deadline = monotonic() + within_s
        while not self._done.wait(min(POLL_S, max(0.0, deadline - monotonic()))):
            watch()
            if monotonic() >= deadline:
                raise Late
        if self._error is not None:
            raise self._error
        return self._results[0]
