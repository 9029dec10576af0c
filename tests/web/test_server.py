"""A server that nobody can hold: who may ask, how much, for how long, on how many connections."""

import json
import socket
import time
from http.client import HTTPConnection
from threading import Event

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from fdfo.web import guard, punctual
from fdfo.web.listening import listen, url_of
from fdfo.web.server import Server

MOST_BYTES = 1000
JSON = {"Content-Type": "application/json"}


async def look(request):
    return JSONResponse("seen")


async def echo(request):
    return JSONResponse(await request.json())


async def flood(request):
    """More than the buffers of two sockets hold."""
    return Response(bytes(2**26))


async def events(request):
    async def tell():
        for _ in range(1000):
            yield b"data: 1\n\n" * 10_000

    return StreamingResponse(tell(), media_type="text/event-stream")


APP = Starlette(
    routes=[
        Route("/look", look),
        Route("/echo", echo, methods=["POST"]),
        Route("/flood", flood),
        Route("/events", events),
    ]
)


@pytest.fixture(scope="module")
def server():
    with Server(APP, listen("127.0.0.1", 0), most_bytes=MOST_BYTES) as running:
        yield running


def ask(server, method, path, body=None, headers=JSON):
    """Status and content of an answer."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, json.loads(content)


def test_answers(server):
    answer, content = ask(server, "POST", "/echo", '{"a": [1]}')
    assert (answer.status, content) == (200, {"a": [1]})
    assert ask(server, "GET", "/look", headers={})[1] == "seen"
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "uvicorn" not in str(answer.headers)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"Origin": "http://evil.example"}, 403, "a page of another site"),
        ({"Origin": "null"}, 403, "a page of another site"),
        ({"Content-Type": "text/plain"}, 415, "Content-Type: application/json"),
        ({"Content-Type": ""}, 415, "Content-Type: application/json"),
        ({"Host": "evil.example"}, 421, "use 127.0.0.1 or localhost"),
        ({"Host": "127.0.0.1.evil.example:80"}, 421, "use 127.0.0.1 or localhost"),
        ({"Content-Length": "1001"}, 413, "the most is 1000"),
        ({"Content-Length": "9" * 20}, 413, "the most is 1000"),
    ],
    ids=str,
)
def test_what_a_page_of_another_site_could_send_is_refused(server, change, status, said):
    answer, content = ask(server, "POST", "/echo", "{}", JSON | change)
    assert answer.status == status and said in content["error"]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_own_pages_may_ask(server, name):
    host = f"{name}:{server.port}"
    answer, _ = ask(server, "POST", "/echo", "{}", JSON | {"Host": host, "Origin": f"http://{host}"})
    assert answer.status == 200


def test_reading_under_another_name_is_refused_too(server):
    assert ask(server, "GET", "/look", headers={"Host": "evil.example"})[0].status == 421


@pytest.mark.parametrize("length", [{}, {"Content-Length": "5"}], ids=["none", "another"])
def test_a_body_of_unknown_length_is_refused(server, length):
    answer, content = ask(server, "POST", "/echo", iter([b"{}"]), JSON | length | {"Transfer-Encoding": "chunked"})
    assert answer.status == 411 and "Content-Length" in content["error"]


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def is_closed_within(connection, seconds, dripping=b""):
    """Whether the server hangs up by then, while a byte comes now and then."""
    begun, sent = time.monotonic(), 0
    connection.settimeout(0.05)
    while time.monotonic() - begun < seconds:
        try:
            if sent < len(dripping):
                connection.sendall(dripping[sent : sent + 1])
                sent += 1
            if connection.recv(100) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


HEAD = b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 500\r\n"


@pytest.mark.parametrize(
    ("first", "dripping"),
    [(b"", b""), (b"", HEAD), (HEAD, b"X-Long: " + b"a" * 200), (HEAD + b"\r\n", b"1" * 499)],
    ids=["silent", "from the start", "in its header", "in its body"],
)
def test_a_request_that_does_not_arrive_is_not_waited_for(server, monkeypatch, first, dripping):
    monkeypatch.setattr(punctual, "ARRIVAL_S", 0.4)
    with connected(server) as connection:
        connection.sendall(first)
        assert is_closed_within(connection, 3, dripping)


def test_the_next_request_on_a_connection_has_to_arrive_as_well(server, monkeypatch):
    monkeypatch.setattr(punctual, "ARRIVAL_S", 0.4)
    with connected(server) as connection:
        connection.sendall(b"GET /look HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while not answer.endswith(b'"seen"'):
            answer += connection.recv(1000)
        assert is_closed_within(connection, 3, HEAD)


def test_work_may_take_longer_than_the_request(monkeypatch):
    monkeypatch.setattr(punctual, "ARRIVAL_S", 0.2)
    release = Event()

    def slow(request):
        release.wait(0.6)
        return JSONResponse("done")

    app = Starlette(routes=[Route("/", slow)])
    with Server(app, listen("127.0.0.1", 0), most_bytes=MOST_BYTES) as server:
        assert ask(server, "GET", "/")[1] == "done"


@pytest.mark.parametrize("path", ["/flood", "/events"])
def test_a_client_that_takes_no_answer_is_let_go(server, monkeypatch, path):
    monkeypatch.setattr(guard, "DELIVERY_S", 0.3)
    monkeypatch.setattr(punctual, "ARRIVAL_S", 0.3)
    with connected(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        time.sleep(1)
        received = 0
        while piece := connection.recv(2**20):
            received += len(piece)
        assert received < 2**26


def test_connections_are_bounded_and_room_comes_back(server, monkeypatch):
    monkeypatch.setattr(punctual, "MOST_CONNECTIONS", 3)
    held = [connected(server) for _ in range(3)]
    time.sleep(0.1)
    with connected(server) as one_more:
        assert is_closed_within(one_more, 2)
    for connection in held:
        connection.close()
    time.sleep(0.1)
    assert ask(server, "GET", "/look")[1] == "seen"


def test_a_taken_port_is_passed_over_where_that_is_asked_for():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", port)
        with listen("127.0.0.1", port, tries=20) as second:
            assert port < second.getsockname()[1] < port + 20


def test_an_address_for_others_names_this_machine(monkeypatch):
    monkeypatch.setattr("fdfo.web.listening.gethostname", lambda: "my-machine")
    with listen("0.0.0.0", 0) as everywhere, listen("127.0.0.1", 0) as here:
        assert url_of(everywhere) == f"http://my-machine:{everywhere.getsockname()[1]}"
        assert url_of(here) == f"http://127.0.0.1:{here.getsockname()[1]}"
