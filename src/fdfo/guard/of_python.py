"""Settings of Python and of the operating system."""

import gc
import locale
import logging
import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from functools import cache
from typing import Any

from fdfo.guard.setting import Setting, attribute

_NAMES = ("INT", "TERM", "HUP", "QUIT", "BREAK", "PIPE", "CHLD", "ALRM", "USR1", "USR2")
SIGNALS = [getattr(signal, f"SIG{name}") for name in _NAMES if hasattr(signal, f"SIG{name}")]
"""The signals that programs handle, as far as this system has them."""


@cache
def of_the_thread() -> tuple[Setting, ...]:
    """Settings that every thread has of its own."""
    return (Setting(_blocked, _put_blocked),) if hasattr(signal, "pthread_sigmask") else ()


@cache
def of_the_process() -> tuple[Setting, ...]:
    """Settings that all threads share."""
    return (
        Setting(_folder, _put_folder),
        Setting(lambda: (sys.stdout, sys.stderr), _put_streams),
        Setting(gc.isenabled, lambda was: gc.enable() if was else gc.disable()),
        Setting(lambda: logging.root.manager.disable, logging.disable),
        Setting(sys.getrecursionlimit, sys.setrecursionlimit),
        Setting(_stack_size, threading.stack_size),
        Setting(_umask, os.umask),
        Setting(lambda: locale.setlocale(locale.LC_ALL), lambda before: locale.setlocale(locale.LC_ALL, before)),
        Setting(_limits, _put_limits),
        Setting(lambda: list(sys.path), lambda before: _put_entries(sys.path, before)),
        Setting(lambda: list(sys.meta_path), lambda before: _put_entries(sys.meta_path, before)),
    )


@cache
def of_the_main_thread() -> tuple[Setting, ...]:
    """Settings that only the main thread may touch, or may be changing for a moment while another one looks."""
    alarm = (Setting(_alarm, _put_alarm),) if hasattr(signal, "setitimer") else ()
    return (
        *alarm,  # before the handlers: it may come at any time
        Setting(_handlers, _put_handlers),
        Setting(lambda: list(warnings.filters), _put_filters),
        attribute(warnings, "showwarning"),
    )


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _put_folder(before: str | None) -> None:
    if before is not None:
        with suppress(OSError):  # it was removed meanwhile
            os.chdir(before)


def _put_streams(before: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = before


def _put_entries(entries: list[Any], before: list[Any]) -> None:
    """What was taken out comes back; what came in stays, for what they import later."""
    entries += [entry for entry in before if entry not in entries]


def _stack_size() -> int:
    size = threading.stack_size()  # which also sets it to the usual one
    threading.stack_size(size)
    return size


def _umask() -> int:
    mask = os.umask(0o077)  # reading it means setting it
    os.umask(mask)
    return mask


@cache
def _kinds_of_limits() -> tuple[int, ...]:
    if sys.platform == "win32":
        return ()
    import resource

    return tuple({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})


def _limits() -> list[int]:
    """What this process may use of each kind, as long as it does not ask for more."""
    if not _kinds_of_limits():
        return []
    import resource

    return [resource.getrlimit(kind)[0] for kind in _kinds_of_limits()]


def _put_limits(before: list[int]) -> None:
    import resource

    for kind, limit in zip(_kinds_of_limits(), before, strict=True):
        with suppress(ValueError, OSError):  # the hardest limit was lowered as well, for good
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def _blocked() -> set[Any]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _put_blocked(before: set[Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alarm() -> bool:
    """Whether a signal comes by the clock."""
    return signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)


def _put_alarm(before: bool) -> None:
    if not before:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


def _put_handlers(before: list[Any]) -> None:
    for number, handler in zip(SIGNALS, before, strict=True):
        if handler is not None and signal.getsignal(number) is not handler:  # None: of another language
            signal.signal(number, handler)


def _put_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]
