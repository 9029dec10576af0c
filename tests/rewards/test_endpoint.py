"""Servers that refuse, babble, dawdle, fail and come back."""

import logging
import socket
import time
from contextlib import suppress
from http.client import InvalidURL
from http.server import BaseHTTPRequestHandler
from ssl import SSLCertVerificationError
from threading import Thread, Timer
from urllib.error import URLError

import pytest

from fdfo.errors import RewardError
from fdfo.rewards import endpoint
from fdfo.rewards.endpoint import Endpoint, giving_up_when
from tests.rewards.local_server import Scripted, serving

KEY = "secret-key-123"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT_S", 0.05)


def ask(answers, **options):
    """What the client makes of scripted answers, and what the server saw."""
    with serving(Scripted(answers)) as server:
        client = Endpoint("remote", server.url, **{"timeout_s": 5.0, "patience_s": 5.0} | options)
        try:
            return client.exchange("/v1/score", {"n": 1}), server.seen
        except RewardError as error:
            return str(error), server.seen


def dawdle(handler):
    time.sleep(0.4)
    handler.connection.close()


def trickle(handler):
    """Each byte comes in time, and the whole does not."""
    handler.send_response(200)
    handler.send_header("Content-Length", "31")
    handler.end_headers()
    drip(handler, b" " * 30 + b"7")


def trickle_a_header(handler):
    """The answer begins, byte by byte, and its header never ends."""
    drip(handler, b"HTTP/1.0 200 OK\r\nX-Long: " + b"a" * 40)


def ask_for_patience(handler):
    """Interim answers for ever: each is a whole one for the client, which reads on."""
    drip(handler, b"HTTP/1.1 100 Continue\r\n\r\n" * 40, size=25)


def drip(handler, content, size=1):
    """Send `content`, `size` bytes every 0.02 s: each read of the client is answered in time."""
    try:
        for start in range(0, len(content), size):
            handler.wfile.write(content[start : start + size])
            handler.wfile.flush()
            time.sleep(0.02)
        time.sleep(0.4)
    except OSError:
        pass  # the client left


def break_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"scores": [')


def failing_silently(handler):
    """An error whose explanation never comes."""
    handler.send_response(503)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(0.4)


def test_an_answer_is_parsed_and_the_question_arrives():
    reply, seen = ask([(200, {"a": [1, None]})])
    assert reply == {"a": [1, None]}
    assert [(path, body) for path, _, body in seen] == [("/v1/score", {"n": 1})]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
def test_a_refusal_is_told_at_once(status):
    message, seen = ask([(status, {"error": "no\nthanks"})])
    assert f"refuses the request, status {status}" in message and "no\\nthanks" in message
    assert len(seen) == 1


def test_a_redirection_is_not_followed():
    message, _ = ask([(302, b"")])
    assert "refuses the request, status 302" in message


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000],
    ids=["html", "nothing", "nan", "bytes", "deep"],
)
def test_what_is_not_json_is_told_at_once(content):
    message, seen = ask([(200, content)])
    assert "something that is not JSON" in message
    assert len(seen) == 1 and len(message) < 700


def test_an_oversized_reply_is_cut_off(monkeypatch):
    monkeypatch.setattr(endpoint, "LARGEST_REPLY_BYTES", 1000)
    message, _ = ask([(200, b" " * 200_000)])
    assert "more than 1000 bytes" in message


def test_a_server_that_recovers_from_its_own_faults():
    reply, seen = ask([(500, b"boom"), (500, b"boom"), (200, [1])])
    assert reply == [1] and len(seen) == 3


def test_a_server_that_keeps_failing_is_given_up():
    message, seen = ask([(500, b"boom " * 1000)])
    assert "failed 4 times in a row: status 500: boom" in message
    assert len(seen) == endpoint.FAULTS and len(message) < 700


SLOW = (dawdle, trickle, trickle_a_header, ask_for_patience)


@pytest.mark.parametrize("slow", SLOW, ids=lambda slow: slow.__name__)
def test_a_slow_answer_is_abandoned_and_asked_for_again(slow):
    begun = time.monotonic()
    reply, seen = ask([slow, (200, [1])], timeout_s=0.2)
    assert reply == [1] and len(seen) == 2
    assert time.monotonic() - begun < 0.2 + 0.5  # the deadline of the whole, then the pause and the second answer


@pytest.mark.parametrize("connecting_s", [0, 0.3])
def test_the_deadline_holds_while_a_proxy_is_asked_for_a_tunnel(monkeypatch, connecting_s):
    """Also where it passes before there is a connection."""
    connect = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *given: time.sleep(connecting_s) or connect(*given))
    with serving(Scripted([(200, [])])) as proxy:
        proxy.RequestHandlerClass = Tunnelling
        monkeypatch.setenv("https_proxy", proxy.url)
        client = Endpoint("remote", "https://no.such.host.invalid", timeout_s=0.2, patience_s=0.05)
        begun = time.monotonic()
        with pytest.raises(RewardError, match=r"no answer within timeout_s=0\.2"):
            client.exchange("/x")
        assert time.monotonic() - begun < 1


def test_the_deadline_holds_while_tls_is_agreed_on():
    """The server announces a record of 16 KiB, and sends it byte by byte."""

    def hesitate(listener):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00\x02")
            for _ in range(60):
                time.sleep(0.05)
                connection.sendall(b"\0")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Thread(target=hesitate, args=(listener,))
        server.start()
        client = Endpoint("remote", f"https://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.2, patience_s=0.05)
        begun = time.monotonic()
        with pytest.raises(RewardError, match=r"no answer within timeout_s=0\.2"):
            client.exchange("/x")
        assert time.monotonic() - begun < 1
        server.join()


class Tunnelling(BaseHTTPRequestHandler):
    """A proxy that says byte by byte that the tunnel is there."""

    def do_CONNECT(self):
        drip(self, b"HTTP/1.0 200 OK\r\nX-Long: " + b"a" * 40)

    def log_message(self, *arguments):
        pass


def test_a_server_that_dies_while_it_explains_an_error_is_asked_again():
    reply, seen = ask([failing_silently, (200, [1])], timeout_s=0.2)
    assert reply == [1] and len(seen) == 2


def test_an_answer_that_breaks_off_is_asked_for_again():
    reply, _ = ask([break_off, (503, b""), (200, [1])])
    assert reply == [1]


def test_a_server_that_stays_away_ends_the_run_with_advice(caplog):
    with serving(Scripted([(200, [])])) as server:
        url = server.url
    begun = time.monotonic()
    with pytest.raises(RewardError) as caught:
        Endpoint("remote", url, timeout_s=1, patience_s=0.3).exchange("/v1/score", {})
    assert 0.3 <= time.monotonic() - begun < 3
    for part in (f"reward 'remote' at {url} has not answered for patience_s=0.3", "refused", "repeat the command"):
        assert part in str(caught.value)
    (line,) = [record.getMessage() for record in caplog.records]  # one, however many attempts
    assert line.startswith(f"reward 'remote' at {url} does not answer (") and line.endswith("waiting, up to 0.3 s")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SSLCertVerificationError("self-signed"), "a certificate that this machine does not trust: .*self-signed"),
        (URLError(SSLCertVerificationError("self-signed")), "a certificate that this machine does not trust"),
        (InvalidURL("nonnumeric port: 'abc'"), "its address or that of a proxy is wrong: nonnumeric port"),
        (URLError(InvalidURL("nonnumeric port: 'abc'")), "its address or that of a proxy is wrong"),
    ],
    ids=repr,
)
def test_what_waiting_cannot_mend_is_told_at_once(error, said, monkeypatch):
    client = Endpoint("remote", "https://localhost:1", timeout_s=1, patience_s=60)
    attempts = []

    def failing(request, timeout):
        attempts.append(request)
        raise error

    monkeypatch.setattr(client._opener, "open", failing)
    with pytest.raises(RewardError, match=said):
        client.exchange("/x")
    assert len(attempts) == 1


def test_an_unknown_host_may_come_up_later(caplog):
    with pytest.raises(RewardError, match=r"has not answered for patience_s=0\.1"):
        Endpoint("remote", "http://no.such.host.invalid", timeout_s=1, patience_s=0.1).exchange("/x")
    assert "waiting" in caplog.text


def test_who_is_asked_to_stop_does_not_wait_any_longer():
    with serving(Scripted([(200, [])])) as server:
        client = Endpoint("remote", server.url, timeout_s=1, patience_s=60)
    begun = time.monotonic()
    with giving_up_when(lambda: time.monotonic() > begun + 0.1), pytest.raises(RewardError, match="asked to stop"):
        client.exchange("/x")
    assert time.monotonic() - begun < 5
    with serving(Scripted([(503, b""), (200, [1])], server.server_port)):
        assert client.exchange("/x") == [1]  # as before, outside the block


def test_a_server_that_comes_back_is_used_again(caplog):
    caplog.set_level(logging.WARNING)
    with serving(Scripted([(200, [1])])) as server:
        client = Endpoint("remote", server.url, timeout_s=1, patience_s=20)
        assert client.exchange("/x") == [1]
        port = server.server_port
    again = Scripted([(200, [2])], port)
    with again:  # listening, and answering only later
        timer = Timer(0.2, again.serve_forever, kwargs={"poll_interval": 0.02})
        timer.start()
        assert client.exchange("/x") == [2]
        again.shutdown()
        timer.join()
    assert all("at http://127.0.0.1" in record.getMessage() for record in caplog.records)


def test_pauses_grow_and_differ(monkeypatch):
    pauses = []
    monkeypatch.setattr(endpoint, "LONGEST_WAIT_S", 0.04)
    monkeypatch.setattr(endpoint.time, "sleep", pauses.append)
    ask([(503, b"")] * 6 + [(200, [1])])
    assert len(pauses) == 6 and len(set(pauses)) == 6
    for pause, longest in zip(pauses, (0.01, 0.02, 0.04, 0.04, 0.04, 0.04), strict=True):
        assert longest / 2 <= pause <= longest


def test_the_key_is_sent_and_never_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    reply, seen = ask([(200, [1])], key_variable="MY_KEY")
    assert reply == [1] and seen[0][1]["Authorization"] == f"Bearer {KEY}"
    for status in (200, 401, 500):
        message, _ = ask([(status, f"wrong key {KEY}!".encode())], key_variable="MY_KEY")
        assert "wrong key ***!" in message and KEY not in message


def test_a_missing_key_is_told_by_its_variable(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    client = Endpoint("remote", "http://localhost:1", timeout_s=1, patience_s=1, key_variable="MY_KEY")
    with pytest.raises(RewardError, match="the environment has no MY_KEY"):
        client.check_key()


def test_a_key_that_no_header_can_hold_is_not_shown(monkeypatch):
    for key in (f"{KEY}\nX-Other: 1", f"{KEY}ü"):
        monkeypatch.setenv("MY_KEY", key)
        message, seen = ask([(200, [1])], key_variable="MY_KEY")
        assert "MY_KEY holds signs that no key has" in message and KEY not in message
        assert seen == []
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    assert ask([(200, [1])], key_variable="MY_KEY")[1][0][1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("url", ["localhost:8765", "ftp://x", "http://", 7, "file:///etc/passwd"])
def test_addresses_and_times_are_checked_together(url):
    with pytest.raises(RewardError, match=r"url must begin .*timeout_s must be .*patience_s must be"):
        Endpoint("remote", url, timeout_s=0, patience_s=float("inf"))


def test_a_password_in_the_address_is_refused_and_not_repeated():
    addresses = [f"http://me:{KEY}@host", f"http://host/v1?key={KEY}", f"http://host#{KEY}", f"host/v1?key={KEY}"]
    for url in addresses:
        with pytest.raises(RewardError, match=r"no user or password|no \? or #|must begin with") as caught:
            Endpoint("remote", url, timeout_s=1, patience_s=1)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://host:eight", "a port or brackets that cannot be read"),
        ("http://host:70000", "a port or brackets that cannot be read"),
        ("http://[::1", "a port or brackets that cannot be read"),
        ("http://host:0", "port 0"),
        ("http://my host", "no spaces or control characters"),
        ("http://host/v 1", "no spaces or control characters"),
        ("http://host/v1\n", "no spaces or control characters"),
        ("http://host/\x7f", "no spaces or control characters"),
    ],
)
def test_an_address_that_can_never_answer_is_refused(url, problem):
    with pytest.raises(RewardError, match=f"reward 'remote': url .*{problem}"):
        Endpoint("remote", url, timeout_s=1, patience_s=1)


@pytest.mark.parametrize("variable", ["sk-secret-1", "hf_secret1", "", "1st", "MY KEY", "KEY\n", 7])
def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(variable):
    with pytest.raises(RewardError, match="key_variable must be the name of an environment variable") as caught:
        Endpoint("remote", "http://localhost:1", timeout_s=1, patience_s=1, key_variable=variable)
    assert "sk-secret-1" not in str(caught.value)
