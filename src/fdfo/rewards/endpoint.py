"""JSON over HTTP with a server that may be slow, wrong, or away for a while.

A reply is data: bounded in size, parsed as JSON, never executed. A key is read from the environment, sent in the
Authorization header, and never shown.
"""

import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, InvalidURL
from math import ceil
from ssl import SSLCertVerificationError
from threading import Lock
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from fdfo.errors import RewardError
from fdfo.rewards.deadline import Deadline, PlainHandler, TlsHandler

LARGEST_REPLY_BYTES = 2**24
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Pauses between attempts double from the first to the longest; each is shortened at random by up to half."""
FAULTS = 4
"""Attempts at a server that is there and reports an error of its own."""

_AWAY = (408, 425, 429, 502, 503, 504)
"""Status codes of a server that is not ready, and of proxies in front of one that is not there."""
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
"""Never asked through a proxy of the environment."""
NO_VARIABLE = "must be the name of an environment variable (capitals, digits and _), and not the key itself"
"""Said without what was given, which may be a key."""
_CHUNK_BYTES = 2**16
_SHOWN_CHARACTERS = 500

_CHECKED_EVERY_S = 0.2
_stop_is_asked: Callable[[], bool] = bool  # bool() is False: nobody asks

_log = logging.getLogger(__name__)


@contextmanager
def giving_up_when(asked: Callable[[], bool]) -> Iterator[None]:
    """For the time of the block, stop waiting for servers that are away, with a RewardError, once `asked()` is true.

    For a program that is told to stop while it waits.
    """
    global _stop_is_asked
    before, _stop_is_asked = _stop_is_asked, asked
    try:
        yield
    finally:
        _stop_is_asked = before


def is_asked_to_stop() -> bool:
    """Whether the program around is told to stop, within `giving_up_when`."""
    return _stop_is_asked()


class _Away(Exception):
    """Nobody answered, for the reason given."""


class _Fault(Exception):
    """The server answered that it failed."""


class _NoRedirect(HTTPRedirectHandler):
    """A redirection could carry the key to another host."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


class Endpoint:
    """A server's address, and how long to wait for it."""

    def __init__(self, reward: str, url: str, *, timeout_s: float, patience_s: float, key_variable: str | None = None):
        """timeout_s bounds a single answer. A server that does not answer is tried again for patience_s.

        key_variable names the environment variable that holds the key. Raises RewardError for unusable values.
        """
        problems = _url_problems(url)
        if key_variable is not None and not is_variable(key_variable):
            problems.append(f"key_variable {NO_VARIABLE}")
        for key, value in {"timeout_s": timeout_s, "patience_s": patience_s}.items():
            if not isinstance(value, int | float) or not 0 < value < float("inf"):
                problems.append(f"{key} must be a positive number of seconds, got {value!r}")
        if problems:
            raise RewardError(f"reward {reward!r}: " + "; ".join(problems))
        self._reward, self._url, self._timeout_s, self._patience_s = reward, url.rstrip("/"), timeout_s, patience_s
        self._key_variable = key_variable
        direct = [ProxyHandler({})] if urlsplit(url).hostname in _THIS_MACHINE else []
        self._opener = build_opener(_NoRedirect, PlainHandler, TlsHandler, *direct)
        self._lock, self._outage_told = Lock(), False

    @property
    def name(self) -> str:
        """The reward and its server, for messages."""
        return f"reward {self._reward!r} at {self._url}"

    def check_key(self) -> None:
        """Raise RewardError when the key's environment variable is not set, or holds no key."""
        self._key()

    def _key(self) -> str:
        """The key, or nothing where none is asked for; never part of a message."""
        if self._key_variable is None:
            return ""
        key = os.environ.get(self._key_variable, "").strip()
        if not key:
            raise RewardError(f"{self.name}: key_variable: the environment has no {self._key_variable}; set it")
        if not key.isascii() or not key.isprintable():
            raise RewardError(f"{self.name}: {self._key_variable} holds signs that no key has; set it anew")
        return key

    def exchange(self, path: str, payload: Any = None) -> Any:
        """The JSON that answers a POST of the payload, or a GET without one.

        Waits for a server that is away, and says so once. Raises RewardError when it stays away, refuses the request,
        keeps failing, or answers with anything but JSON of reasonable size.
        """
        begun, faults, pause = time.monotonic(), 0, FIRST_WAIT_S
        while True:
            try:
                reply = self._once(path, payload)
            except _Fault as error:
                faults += 1
                if faults == FAULTS:
                    raise RewardError(f"{self.name} failed {FAULTS} times in a row: {error}") from error
                left = LONGEST_WAIT_S
            except _Away as error:
                left = begun + self._patience_s - time.monotonic()
                if left <= 0:
                    raise RewardError(self._gave_up(error)) from error
                self._tell(f"does not answer ({error}); waiting, up to {self._patience_s:g} s", outage=True)
            else:
                self._tell("answers again", outage=False)
                return reply
            self._pause(min(pause * random.uniform(0.5, 1), left))
            pause = min(2 * pause, LONGEST_WAIT_S)

    def _pause(self, seconds: float) -> None:
        pieces = ceil(seconds / _CHECKED_EVERY_S)
        for _ in range(pieces):
            if is_asked_to_stop():
                raise RewardError(f"{self.name} does not answer, and it was asked to stop: not waiting any longer")
            time.sleep(seconds / pieces)

    def _once(self, path: str, payload: Any) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        body = None if payload is None else json.dumps(payload).encode()
        request = Request(self._url + path, data=body, headers=headers)
        try:
            with Deadline(request).within(self._timeout_s):
                return self._answer(request, key)
        except (OSError, HTTPException) as error:
            raise self._unanswered(error.reason if isinstance(error, URLError) else error, key) from None

    def _answer(self, request: Request, key: str) -> Any:
        """What a server answers, parsed."""
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return self._parsed(self._read(answer), key)
        except HTTPError as error:
            said = _excerpt(_beginning(error), key)
            if error.code in _AWAY:
                raise _Away(f"status {error.code}: {said}") from None
            if error.code >= 500:
                raise _Fault(f"status {error.code}: {said}") from None
            raise RewardError(f"{self.name} refuses the request, status {error.code}: {said}") from None

    def _unanswered(self, reason: Any, key: str) -> Exception:
        """What to raise where no answer came: most reasons may pass."""
        if isinstance(reason, TimeoutError):
            return _Away(f"no answer within timeout_s={self._timeout_s:g}")
        said = _excerpt((str(reason) or type(reason).__name__).encode(), key)
        if isinstance(reason, SSLCertVerificationError):
            return RewardError(f"{self.name} has a certificate that this machine does not trust: {said}")
        if isinstance(reason, InvalidURL):
            return RewardError(f"{self.name} cannot be asked, its address or that of a proxy is wrong: {said}")
        return _Away(said)

    def _read(self, answer: Any) -> bytes:
        """The whole body, in bounded size."""
        content = bytearray()
        while chunk := answer.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > LARGEST_REPLY_BYTES:
                raise RewardError(f"{self.name} answers with more than {LARGEST_REPLY_BYTES} bytes; expected a few")
        if answer.length:
            raise HTTPException(f"the answer ends {answer.length} bytes early")
        return bytes(content)

    def _parsed(self, content: bytes, key: str) -> Any:
        try:
            return json.loads(content.decode("utf-8"), parse_constant=_refuse)
        except (ValueError, RecursionError):
            shown = _excerpt(content, key)
            raise RewardError(f"{self.name} answers with something that is not JSON: {shown}") from None

    def _tell(self, text: str, *, outage: bool) -> None:
        """One line at the beginning of an outage and one at its end, whatever number of threads notices."""
        with self._lock:
            changed, self._outage_told = outage != self._outage_told, outage
        if changed:
            _log.warning("%s %s", self.name, text)

    def _gave_up(self, error: _Away) -> str:
        return (
            f"{self.name} has not answered for patience_s={self._patience_s:g}: {error}. What a run had finished is "
            "saved: start the server, then repeat the command to continue; a larger patience_s waits longer"
        )


def is_variable(name: Any) -> bool:
    """Whether this is the name of an environment variable, in capitals, which no key consists of."""
    return isinstance(name, str) and re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) is not None


def _url_problems(url: Any) -> list[str]:
    if isinstance(url, str) and (" " in url or not url.isprintable()):
        return ["url must hold no spaces or control characters"]
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = parts.port
    except ValueError:  # its text may hold a part of a password
        return ["url has a port or brackets that cannot be read; a port is a number from 1 to 65535"]
    problems = []
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problems.append(f"url must begin with http:// or https:// and name a host, got {_address(url)!r}")
    if port == 0:
        problems.append("url has port 0; a port is a number from 1 to 65535")
    if parts.username or parts.password:
        problems.append("url must hold no user or password; name an environment variable in key_variable")
    if parts.query or parts.fragment:
        problems.append("url must hold no ? or #; name the environment variable of a key in key_variable")
    return problems


def _beginning(error: HTTPError) -> bytes:
    """What arrived first of the body of an error; nothing where the server is gone by then."""
    try:
        with error:
            return error.read1(_CHUNK_BYTES)
    except (OSError, HTTPException):
        return b""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _excerpt(content: bytes, key: str) -> str:
    """The beginning of what a server said, on one line, without the key."""
    text = " ".join(content.decode("utf-8", errors="replace").split())
    text = text.replace(key, "***") if key else text
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _address(url: Any) -> Any:
    """Without what a key may be in."""
    return url.rpartition("@")[2].partition("?")[0].partition("#")[0] if isinstance(url, str) else url
