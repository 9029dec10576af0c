"""A small HTTP server for one reward (protocol.py)."""

import hmac
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, gethostname
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from fdfo.errors import FdfoError
from fdfo.rewards.protocol import NAME_PATH, PROTOCOL, SCORE_PATH, read_request, reply
from fdfo.rewards.weighted import WeightedSum

LARGEST_REQUEST_BYTES = 2**28
_EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that no other machine can ask."""
_IDLE_S = 60.0
"""A client that sends nothing for so long is let go."""


class _Refusal(Exception):
    """An answer other than a score: a status code and the reason."""

    def __init__(self, status: int, reason: str):
        self.status = status
        super().__init__(reason)


class RewardServer(ThreadingHTTPServer):
    """Scores one request at a time; listens once made. Requests are bounded, and nothing in them is executed."""

    daemon_threads = True

    def __init__(self, reward: WeightedSum, name: str, device: torch.device, *, host: str, port: int, key: str | None):
        """`reward` is loaded. Port 0 takes a free one. With a key, clients must send it. Raises OSError."""
        self.reward, self.name, self.device, self.key = reward, name, device, key
        self.scoring = Lock()
        if ":" in host:
            self.address_family = AF_INET6
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where clients find it: by the name of this machine, where it listens at all of its addresses."""
        host = str(self.server_address[0])
        host = gethostname() if host in _EVERYWHERE else host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}"

    def score(self, payload: Any) -> Tensor:
        """Scores [B] of a parsed request. Raises _Refusal."""
        try:
            images, prompts, metadata = read_request(payload)
        except ValueError as error:
            raise _Refusal(400, f"the request holds {error}") from error
        try:
            with self.scoring, torch.no_grad():
                return self.reward(images.to(self.device), prompts, metadata).cpu()
        except torch.OutOfMemoryError as error:
            smaller = max(1, len(images) // 2)
            raise _Refusal(422, f"{error}; for the remote score, try batch_size={smaller}") from error
        except FdfoError as error:
            raise _Refusal(422, str(error)) from error


class _Handler(BaseHTTPRequestHandler):
    server: RewardServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def do_GET(self) -> None:
        self._answer(lambda: self._name())

    def do_POST(self) -> None:
        self._answer(lambda: self._score())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line for every request would bury what matters."""

    def _answer(self, work: Any) -> None:
        try:
            self._check_key()
            status, content = 200, work()
        except _Refusal as refusal:
            status, content = refusal.status, {"error": str(refusal)}
            self.close_connection = True  # the body may be unread
        except Exception as error:  # without an answer, clients would take this server for one that is away
            status, content = 500, {"error": f"{type(error).__name__}: {error}"}
            self.close_connection = True
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _name(self) -> dict[str, Any]:
        self._check_path(NAME_PATH)
        return {"protocol": PROTOCOL, "reward": self.server.name}

    def _score(self) -> dict[str, Any]:
        self._check_path(SCORE_PATH)
        return reply(self.server.score(self._payload()), self.server.name)

    def _payload(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Refusal(411, "the request has no Content-Length")
        if int(length) > LARGEST_REQUEST_BYTES:
            raise _Refusal(
                413, f"the request has {length} bytes, the most is {LARGEST_REQUEST_BYTES}; send fewer images"
            )
        try:
            return json.loads(self.rfile.read(int(length)).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise _Refusal(400, "the request is not JSON") from error

    def _check_path(self, expected: str) -> None:
        if self.path != expected:
            raise _Refusal(404, f"nothing here; this server has GET {NAME_PATH} and POST {SCORE_PATH}")

    def _check_key(self) -> None:
        sent, key = self.headers.get("Authorization", ""), self.server.key
        if key is not None and not hmac.compare_digest(sent.encode(), f"Bearer {key}".encode()):
            raise _Refusal(401, "the key is missing or wrong")
