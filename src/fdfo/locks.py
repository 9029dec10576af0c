"""One writer for what is shared: a lock that the kernel lets go with the process that holds it, even on kill -9.

It is a lock on a small hidden file, which stays (kernel_lock.py). What it keeps out depends on the file system: other
processes of the machine on every local one; those of other machines too on NFS (Linux turns it into a lock of the
server), CephFS, GPFS and Lustre mounted with `flock`; of this machine alone where locks are kept local (NFS with
`local_lock`, Lustre with `localflock`). Where there are no locks at all, one line says so.
"""

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO

import psutil

from fdfo.errors import BusyError
from fdfo.kernel_lock import let_go, try_lock

_log = logging.getLogger(__name__)

POLL_S = 0.2

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_held: set[IO[str]] = set()


@contextmanager
def one_writer(path: Path, advice: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep every other writer of a folder that exists, or of a file, out as long as inside.

    Raises BusyError, which names the one who writes there and ends in `advice`; with `waiting` waits for that one, and
    calls it now and then. Raises OSError where nothing can be written.
    """
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8") as file:
        while not _is_taken(file, path):
            if waiting is None:
                raise BusyError(f"{path} is being written by {_holder(file)}; {advice}")
            waiting()
            time.sleep(POLL_S)
        _close_in_forks()
        _held.add(file)
        try:
            _write(file, json.dumps(_this_process()))
            yield
        finally:
            if file in _held:
                _write(file, "")
                _held.remove(file)
                let_go(file)


@dataclass(frozen=True)
class Holder:
    """The process that writes a folder, by what it left in the lock's file."""

    host: str
    process: int
    since: str

    @property
    def is_here(self) -> bool:
        """Whether it is one of this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether there is a process of its number on this machine."""
        return psutil.pid_exists(self.process)


def holder_of(folder: Path) -> Holder | None:
    """Who said last that it writes a folder, and has not said that it ended; it may have been killed since."""
    try:
        content = json.loads((folder / ".lock").read_text(encoding="utf-8"))
        return Holder(str(content["host"]), int(content["process"]), str(content["since"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_held(folder: Path) -> bool:
    """Whether a process writes a folder at this moment; looking takes the lock for a moment itself. Raises OSError."""
    with open(folder / ".lock", encoding="utf-8") as file:
        is_free = try_lock(file, shared=True)
        if is_free:
            let_go(file)
        return not is_free


def _is_taken(file: IO[str], path: Path) -> bool:
    """Whether the lock is this process's now; so it is, with a warning, where there are none."""
    try:
        return try_lock(file)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning("%s: its file system has no locks (%s); see that nothing else writes there", path, error.strerror)
    return True


def _this_process() -> dict[str, str | int]:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"host": socket.gethostname(), "process": os.getpid(), "since": since}


def _holder(file: IO[str]) -> str:
    """Who holds a lock, in words; another process where that is not written yet."""
    try:
        file.seek(0)
        return "process {process} on {host}, since {since}".format(**json.loads(file.read()))
    except (ValueError, TypeError, KeyError):
        return "another process"


def _write(file: IO[str], text: str) -> None:
    """Put a text in the place of what the file holds."""
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
    os.fsync(file.fileno())  # other machines see it only then


@cache
def _close_in_forks() -> None:
    """A fork that outlives this process would hold its locks: it lets go of them at once."""
    if hasattr(os, "register_at_fork"):  # where there are forks
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    while _held:
        _held.pop().close()
