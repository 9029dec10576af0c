"""Where a server listens, and by which address it is found."""

import errno
import socket
from socket import AF_INET, AF_INET6, gethostname

EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that no other machine can ask."""
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
"""Addresses that only this machine can ask."""


def listen(host: str, port: int, *, tries: int = 1) -> socket.socket:
    """A socket that listens at `host`, at the first free one of `tries` ports from `port`; 0 takes any free one.

    Raises OSError where there is none, or no such host.
    """
    family = AF_INET6 if ":" in host else AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    for candidate in range(port, port + tries):
        try:
            return socket.create_server((host, candidate), family=family, dualstack_ipv6=both)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == port + tries - 1:
                raise
    raise AssertionError("tries is at least 1")


def url_of(listener: socket.socket) -> str:
    """Where clients find it: by the name of this machine, where it listens at all of its addresses."""
    host, port = listener.getsockname()[:2]
    host = gethostname() if host in EVERYWHERE else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return listener.getsockname()[0] in THIS_MACHINE
