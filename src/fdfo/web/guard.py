"""Who may ask a server, and how much: checked before the application sees a request.

A page of any site that a browser shows may send requests to this machine. What changes something must therefore be
JSON, which a page cannot send to another site unasked, and come from no other origin; where only this machine is
served, the Host must be one of its names, so that no other name is made to point here (DNS rebinding).
"""

import asyncio
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fdfo.web.listening import THIS_MACHINE

DELIVERY_S = 120.0
"""Longest time until a client has taken an answer; of a stream of events, each of them."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refusal(Exception):
    """An answer other than the one that was asked for: a status code and the reason."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None):
        self.status, self.headers = status, headers
        super().__init__(reason)

    def response(self) -> JSONResponse:
        """As it is sent."""
        return JSONResponse({"error": str(self)}, self.status, self.headers)


class Guard:
    """An application behind these checks."""

    def __init__(self, app: ASGIApp, *, most_bytes: int, is_local: bool):
        """most_bytes: of a request's body; is_local: only this machine is served."""
        self._app, self._most_bytes, self._is_local = app, most_bytes, is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._check(scope["method"], Headers(scope=scope))
        except Refusal as refusal:
            refused = refusal.response()
            refused.headers["Connection"] = "close"  # the body is unread
            await refused(scope, receive, send)
            return
        try:
            await self._app(scope, receive, _Delivery(send))
        except TimeoutError:  # the client does not take its answer
            raise ConnectionAbortedError("the client does not take its answer") from None

    def _check(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._is_local and re.sub(r":\d+$", "", host).strip("[]") not in THIS_MACHINE:
            raise Refusal(421, "this server answers under the names of this machine alone; use 127.0.0.1 or localhost")
        if method in ("GET", "HEAD"):
            return
        if headers.get("origin") not in (None, f"http://{host}", f"https://{host}"):
            raise Refusal(403, "a page of another site may not ask this server")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the request must be JSON, with Content-Type: application/json")
        length = headers.get("content-length", "")
        if not length.isdecimal() or "transfer-encoding" in headers:  # with both, the length would not bound the body
            raise Refusal(411, "the request has no Content-Length")
        if int(length[:20]) > self._most_bytes:
            raise Refusal(
                413, f"the request has {length[:20]} bytes, the most is {self._most_bytes}; send less at a time"
            )


class _Delivery:
    """Sends an answer in bounded time, with what every answer says to browsers."""

    def __init__(self, send: Send):
        self._send = send
        self._deadline = 0.0
        self._is_stream = False

    async def __call__(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        if message["type"] == "http.response.start":
            headers = _with_ours(message)
            self._is_stream = headers.get("content-type", "").startswith("text/event-stream")
            self._deadline = now + DELIVERY_S
        deadline = now + DELIVERY_S if self._is_stream else self._deadline
        async with asyncio.timeout_at(deadline):
            await self._send(message)


def _with_ours(message: MutableMapping[str, Any]) -> Headers:
    """The headers of an answer's beginning, with ours added to it."""
    message["headers"] = [*message.get("headers", []), *((k.lower().encode(), v.encode()) for k, v in _HEADERS.items())]
    return Headers(raw=message["headers"])
