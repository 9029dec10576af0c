"""What is process-wide, or the thread's, and put back after contact with code that is not ours.

A setting is read before and after, and put back where it differs. Random numbers are exchanged instead: code of others
has streams of its own, which go on where it left them, so that it neither moves ours nor draws the same numbers again.
Not put back, because others need it to last: environment variables, what is added to the import path, log handlers. Nor
what nobody can list: functions and modules of libraries that were replaced.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, current_thread, main_thread
from typing import Any

import numpy as np
import torch

from fdfo.guard import of_python, of_torch
from fdfo.guard.setting import Setting

_lock = Lock()
_open = 0
"""Contacts under way, in all threads."""
_before: list[tuple[Setting, Any]] = []
"""What was set when the first of them began."""
_streams: "Streams | None" = None
"""Random numbers of the others while ours are in use, and the other way round; None: they have none yet."""


@contextmanager
def put_back() -> Iterator[None]:
    """Around contact with code of others: afterwards, settings and random numbers are what they were.

    Contacts may be nested, or under way in several threads: what all threads share is then that of the first one's
    beginning.
    """
    of_the_main = of_python.of_the_main_thread() if current_thread() is main_thread() else ()
    own = _read(of_torch.of_the_thread() + of_python.of_the_thread() + of_the_main)
    _begin()
    try:
        # Entered as it is: leaving it also undoes an inference mode that was left open inside.
        with torch.inference_mode(torch.is_inference_mode_enabled()), torch.set_grad_enabled(own[0][1]):
            yield
    finally:
        _end()
        _restore(own)


def _begin() -> None:
    global _open, _before, _streams
    with _lock:
        if _open == 0:
            _before = _read(of_torch.of_the_process() + of_python.of_the_process())
            _streams = (_streams or Streams.new()).exchanged()
        _open += 1


def _end() -> None:
    global _open, _streams
    with _lock:
        _open -= 1
        _restore(_before)
        if _open == 0:
            assert _streams is not None
            _streams = _streams.exchanged()


def _read(settings: tuple[Setting, ...]) -> list[tuple[Setting, Any]]:
    return [(setting, setting.read()) for setting in settings]


def _restore(before: list[tuple[Setting, Any]]) -> None:
    for setting, value in before:
        if setting.read() != value:
            setting.put(value)


@dataclass(frozen=True)
class Streams:
    """Random numbers of the generators that anybody may draw from."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: list[torch.Tensor]

    @staticmethod
    def now() -> "Streams":
        """As the generators stand."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return Streams(random.getstate(), np.random.mtrand.get_bit_generator(), torch.get_rng_state(), cuda)

    @staticmethod
    def new() -> "Streams":
        """Like those of now, with a generator of its own where one is an object."""
        now = Streams.now()
        return Streams(now.python, np.random.MT19937(), now.cpu, now.cuda)

    def exchanged(self) -> "Streams":
        """Put these streams in use, and return those that were."""
        before = Streams.now()
        random.setstate(self.python)
        np.random.mtrand.set_bit_generator(self.numpy)
        torch.set_rng_state(self.cpu)
        for device, state in enumerate(self.cuda):
            torch.cuda.set_rng_state(state, device)
        return before
