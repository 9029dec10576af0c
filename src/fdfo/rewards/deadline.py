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
        """Of a request that an opener with the handlers below will send."""
        request.deadline = self  # type: ignore[attr-defined]
        self.has_passed = False
        self.connection: HTTPConnection | None = None
        self.socket: socket.socket | None = None
        """The connection's, which it lets go of before the answer's body is read."""

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
        used = self.socket or getattr(self.connection, "sock", None)
        if used is not None:
            with suppress(OSError):  # it is closed already
                used.shutdown(socket.SHUT_RDWR)


class _Watched(HTTPConnection):
    """A connection that its deadline knows, also while it is being made (through a proxy)."""

    def __init__(self, deadline: Deadline, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._deadline = deadline
        deadline.connection = self

    def connect(self) -> None:
        super().connect()
        self._deadline.socket = self.sock
        if self._deadline.has_passed:  # while TLS was agreed on, which has no socket to shut down
            raise TimeoutError


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class PlainHandler(HTTPHandler):
    """http:// for requests with an attribute `deadline`."""

    def http_open(self, req: Request) -> Any:
        return self.do_open(partial(_Watched, req.deadline), req)  # type: ignore[arg-type, attr-defined]


class TlsHandler(HTTPSHandler):
    """https:// for requests with an attribute `deadline`."""

    def https_open(self, req: Request) -> Any:
        return self.do_open(partial(_WatchedTls, req.deadline), req, context=self._context)  # type: ignore[arg-type, attr-defined]
