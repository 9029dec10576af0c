"""Connections that are bounded in number, and in the time that a request takes to arrive."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 100
"""Of one server. Further ones are closed at once: a client that tries again finds room when others have left."""
ARRIVAL_S = 120.0
"""Longest time from the connection, or from the answer before, until a request is there as a whole.

uvicorn (0.54) bounds the pause between two requests alone: a request that never ends, or an answer that is never taken,
would hold its connection for ever.
"""


class PunctualProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 on one connection, closed where the next request is not there in time."""

    _arrival: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        if len(self.connections) >= MOST_CONNECTIONS:
            transport.abort()
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect()

    def _expect(self) -> None:
        """A request has to arrive from now on."""
        self._stop_waiting()
        self._arrival = self.loop.call_later(ARRIVAL_S, self._close_if_late)

    def _stop_waiting(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()

    def _close_if_late(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        if not is_answering:
            self.transport.abort()
