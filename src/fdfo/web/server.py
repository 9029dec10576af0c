"""An application at an address: in this thread until it is interrupted, or in one of its own."""

import socket
import time
from threading import Thread
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from fdfo.web.guard import Guard
from fdfo.web.listening import is_local, url_of
from fdfo.web.punctual import PunctualProtocol

_POLL_S = 0.01


class Server:
    """Listens from the start; answers within `serve()`, or for the time of a `with` block in a thread."""

    def __init__(self, app: ASGIApp, listener: socket.socket, *, most_bytes: int):
        """most_bytes: of the body of a request."""
        self.url, self.port = url_of(listener), int(listener.getsockname()[1])
        self._listener = listener
        options: dict[str, Any] = {"ws": "none", "lifespan": "off", "loop": "asyncio", "log_config": None}
        options |= {"log_level": "critical", "access_log": False, "proxy_headers": False, "server_header": False}
        guarded = Guard(app, most_bytes=most_bytes, is_local=is_local(listener))
        self._server = uvicorn.Server(
            uvicorn.Config(guarded, http=PunctualProtocol, timeout_graceful_shutdown=1, **options)
        )
        self._thread = Thread(target=self.serve, daemon=True)

    def serve(self) -> None:
        """Answer until stopped. In the main thread Ctrl-C ends it with KeyboardInterrupt."""
        self._server.run([self._listener])

    def __enter__(self) -> "Server":
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(_POLL_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let those that are asking have their answers, for a moment, and end."""
        self._server.should_exit = True
        self._thread.join()
