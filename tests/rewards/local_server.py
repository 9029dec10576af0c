"""A real HTTP server on this machine whose answers are scripted."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, Any] | Callable[[BaseHTTPRequestHandler], None]
"""A status and content (bytes, or what becomes JSON), or a function that writes to the handler itself."""


class Scripted(ThreadingHTTPServer):
    """Gives one answer after the other, the last one for ever; keeps what it was asked."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answers: list[Answer], port: int = 0):
        self.answers = answers
        self.seen: list[tuple[str, dict[str, str], Any]] = []  # path, headers, parsed body
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, *arguments: Any) -> None:
        pass

    def _reply(self, body: Any) -> None:
        self.server.seen.append((self.path, dict(self.headers), body))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.body = body
        if callable(answer):
            answer(self)
        else:
            self.send(*answer)

    def send(self, status: int, content: Any) -> None:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[Any]:
    """Run a server in a thread for the time of the block."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
