"""The lock of an open file that the kernel lets go with its process, however that ends: of Linux, macOS and Windows."""

import errno
import os
import sys
from contextlib import suppress
from typing import IO, Any

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    PLACE = 2**30
    """Place of the locked byte: far behind the text, since nobody else can read a locked part."""

    def _lock(file: IO[Any], shared: bool) -> None:
        _at_the_place(file, msvcrt.LK_NBLCK)

    def let_go(file: IO[Any]) -> None:
        """Unlock a file that `try_lock` locked, before it is closed."""
        _at_the_place(file, msvcrt.LK_UNLCK)

    def _at_the_place(file: IO[Any], mode: int) -> None:
        number = file.fileno()
        before = os.lseek(number, 0, os.SEEK_CUR)
        os.lseek(number, PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(number, mode, 1)
        finally:
            os.lseek(number, before, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: IO[Any], shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def let_go(file: IO[Any]) -> None:
        """Unlock a file that `try_lock` locked, before it is closed."""
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(file, fcntl.LOCK_UN)


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Whether the lock is this one's now, and not another's. A shared one keeps out those alone that are not shared.

    Raises OSError where there are no locks. Of two openings of a file in one process, each has a lock of its own.
    """
    try:
        _lock(file, shared)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True
