"""A time by which an exchange over HTTP is over, whatever the server sends meanwhile.

The timeout of a socket bounds each read; a server that sends a byte now and then, or `100 Continue` for ever, is never
caught by it. Here the connection is shut down when the time is up, in whatever state it is.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from threading import Timer
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, Request


class Deadline:
    """The end of one exchange."""

    def __init__(self, request: Request):
        """A deadline for a request that an opener with the handlers below will send."""
        request.deadline = self  # type: ignore[attr-defined]
        self.has_passed = False
        self.socket: socket.socket | None = None
        """The latest socket of the connection, which drops it before the answer's body is read."""

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound the block; whatever it raises after its time is a TimeoutError."""
        timer = Timer(seconds, self._pass)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception as error:
            if self.has_passed:
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        if self.has_passed:  # what was read until then looks like a whole answer
            raise TimeoutError

    def _pass(self) -> None:
        self.has_passed = True
        if self.socket is not None:
            with suppress(OSError):  # it is closed already
                self.socket.shutdown(socket.SHUT_RDWR)


class _Watched(HTTPConnection):
    """A connection that its deadline knows as soon as there is a socket: before a proxy is asked, and TLS agreed on."""

    _socket: socket.socket | None = None

    def __init__(self, deadline: Deadline, *arguments: Any, **options: Any):
        self._deadline = deadline
        super().__init__(*arguments, **options)

    @property
    def sock(self) -> Any:
        """As HTTPConnection calls it."""
        return self._socket

    @sock.setter
    def sock(self, value: Any) -> None:
        self._socket = value
        if value is not None:
            self._deadline.socket = value
            if self._deadline.has_passed:  # while there was none to shut down
                value.close()
                raise TimeoutError


class _WatchedTls(_Watched, HTTPSConnection):
    def connect(self) -> None:
        """TLS is agreed on by a socket that the deadline knows; HTTPSConnection has none until then."""
        HTTPConnection.connect(self)
        name = self._tunnel_host or self.host  # type: ignore[attr-defined]
        context = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        self.sock.do_handshake()


class PlainHandler(HTTPHandler):
    """http:// for requests with an attribute `deadline`."""

    def http_open(self, req: Request) -> Any:
        return self.do_open(partial(_Watched, req.deadline), req)  # type: ignore[arg-type, attr-defined]


class TlsHandler(HTTPSHandler):
    """https:// for requests with an attribute `deadline`."""

    def https_open(self, req: Request) -> Any:
        return self.do_open(partial(_WatchedTls, req.deadline), req, context=self._context)  # type: ignore[arg-type, attr-defined]
