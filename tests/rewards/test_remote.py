"""A reward in another process: protocol, server and client together."""

import json
import struct
import time
import tracemalloc
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from urllib.request import Request, urlopen

import pytest
import torch
from PIL.PngImagePlugin import PngImageFile

from fdfo.config.tree import RewardConfig
from fdfo.errors import RewardError
from fdfo.rewards import WeightedSum, build, endpoint, protocol, server
from fdfo.rewards.png import from_png, to_png
from fdfo.rewards.remote import Remote
from fdfo.rewards.server import reward_app
from fdfo.web.listening import listen
from fdfo.web.server import Server
from tests.rewards.local_server import Scripted, serving
from tests.rewards.tiny_clip import pictures

CPU = torch.device("cpu")


def score(images, prompts, metadata):
    """Depends on everything that is sent; cannot judge what is called nan."""
    values = images.mean((1, 2, 3)) * 10 + torch.tensor(
        [len(prompt) + entry["n"] for prompt, entry in zip(prompts, metadata, strict=True)]
    )
    return [float("nan") if prompt == "nan" else value for prompt, value in zip(prompts, values, strict=True)]


@pytest.fixture
def local(monkeypatch):
    """A served function, on a port and under a name."""

    def local(function=score, key=None, port=0, name="plain"):
        monkeypatch.setattr(build, "find", lambda kind, name: function)
        reward = WeightedSum([RewardConfig(name="plain")])
        app = reward_app(reward, name, CPU, key)
        return Server(app, listen("127.0.0.1", port), most_bytes=server.LARGEST_REQUEST_BYTES)

    return local


def loaded(url, **options):
    reward = Remote(url=url, **{"timeout_s": 5, "patience_s": 1} | options)
    reward.load(CPU, torch.float32)
    return reward


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_scores_are_those_of_the_served_reward(local, batch_size):
    images, prompts = pictures(5, 9, 7), ["", 'a\n"{x}" \u2028', "nan", "é🐈", "b" * 10_000]
    metadata = [{"n": i, "nested": {"list": [1, None]}} for i in range(5)]
    with local() as running:
        actual = loaded(running.url, batch_size=batch_size)(images, prompts, metadata)
    assert actual.dtype == torch.float64  # what was sent, without rounding
    expected = torch.tensor([float(value) for value in score(images, prompts, metadata)]).double()
    torch.testing.assert_close(actual, expected, equal_nan=True)


def test_a_number_that_is_not_finite_travels_as_null():
    entry = {"a": float("nan"), "b": [{"c": float("inf")}, 1.5]}
    sent = json.loads(json.dumps(protocol.request(pictures(1, 4, 4), ["x"], [entry]), allow_nan=False))
    assert sent["metadata"] == [{"a": None, "b": [{"c": None}, 1.5]}]


def test_whole_levels_survive_the_journey():
    images = pictures(2, 5, 4)
    assert torch.equal(from_png(to_png(images), images.numel()), images)
    between = torch.rand(1, 3, 8, 8)
    assert (from_png(to_png(between), 64) - between).abs().max() <= 0.5 / 255 + 1e-6


def test_what_the_served_reward_raises_reaches_the_client(local):
    def broken(images, prompts, metadata):
        raise KeyError("colour")

    with (
        local(broken) as running,
        pytest.raises(RewardError, match=r"status 422: .*'plain' failed .*KeyError: 'colour'"),
    ):
        loaded(running.url)(pictures(1, 4, 4), ["a"], [{}])


def test_requests_are_scored_one_at_a_time(local):
    inside, most = [], []

    def watched(images, prompts, metadata):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return [0.0] * len(images)

    with local(watched) as running, ThreadPoolExecutor(4) as threads:
        reward = loaded(running.url)
        list(threads.map(lambda _: reward(pictures(1, 4, 4), ["a"], [{}]), range(8)))
    assert most == [1] * 8


def test_running_out_of_memory_names_the_number_of_images(local):
    def hungry(images, prompts, metadata):
        raise torch.OutOfMemoryError("full")

    with (
        local(hungry) as running,
        pytest.raises(RewardError, match=r"'plain' ran out of memory on 2 images.*batch_size=1"),
    ):
        loaded(running.url)(pictures(2, 4, 4), ["a", "b"], [{}, {}])


def test_a_key_opens_the_server(local, monkeypatch):
    monkeypatch.setenv("MY_KEY", "right")
    with local(key="right") as running:
        assert loaded(running.url, key_variable="MY_KEY")(pictures(1, 4, 4), ["a"], [{"n": 0}]).isfinite().all()
        monkeypatch.setenv("MY_KEY", "left")
        with pytest.raises(RewardError, match=r"status 401: .*key is missing or wrong"):
            loaded(running.url, key_variable="MY_KEY")


def test_a_restarted_server_is_found_again(local, monkeypatch, caplog):
    monkeypatch.setattr(endpoint, "FIRST_WAIT_S", 0.02)
    with local() as running:
        reward, port = loaded(running.url, patience_s=20), running.port
        before = reward(pictures(1, 4, 4), ["a"], [{"n": 0}])
    done = Event()

    def restart():
        done.wait(0.3)
        with local(port=port):
            done.wait(10)

    thread = Thread(target=restart)
    thread.start()
    after = reward(pictures(1, 4, 4), ["a"], [{"n": 0}])
    done.set()
    thread.join()
    assert torch.equal(before, after)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and "waiting, up to 20 s" in lines[0] and "answers again" in lines[1]


def test_a_server_that_comes_back_with_another_reward_is_not_used(local):
    with local() as running:
        reward = loaded(running.url)
    another = pytest.raises(RewardError, match="serves 'other' now, and served 'plain' when the run began")
    with local(port=running.port, name="other"), another:
        reward(pictures(1, 4, 4), ["a"], [{"n": 0}])


@pytest.mark.parametrize("told", [{}, {"reward": None}, {"reward": "x"}], ids=str)
def test_a_reply_need_not_name_its_reward(told):
    answers = [(200, {"protocol": 1, "reward": "x"}), (200, {"protocol": 1, "scores": [2.0]} | told)]
    with serving(Scripted(answers)) as running:
        assert loaded(running.url)(pictures(1, 4, 4), ["a"], [{}]).tolist() == [2.0]


# ---- replies are data ----


@pytest.mark.parametrize(
    ("reply", "fragment"),
    [
        ({"protocol": 1, "scores": [1.0]}, "1 score for 2 images"),
        ({"protocol": 1, "scores": [1.0, "2"]}, "scores that are not all numbers or null"),
        ({"protocol": 1, "scores": [1.0, True]}, "scores that are not all numbers or null"),
        ({"protocol": 1, "scores": "many"}, "scores of type str"),
        ({"protocol": 2, "scores": [1.0, 2.0]}, "protocol '2'; this side speaks 1"),
        ([1.0, 2.0], "a list where an object was expected"),
        ({"protocol": 1, "scores": [1.0, 2.0], "reward": 7}, "a name of the reward of type int"),
    ],
)
def test_malformed_replies_are_explained(reply, fragment):
    answers = [(200, {"protocol": 1, "reward": "x"}), (200, reply)]
    with serving(Scripted(answers)) as running, pytest.raises(RewardError) as caught:
        loaded(running.url)(pictures(2, 4, 4), ["a", "b"], [{}, {}])
    assert f"reward 'remote' at {running.url} answers with {fragment}" in str(caught.value)


def test_a_score_beyond_all_numbers_is_a_failed_item(monkeypatch):
    with serving(Scripted([(200, {"protocol": 1}), (200, b'{"protocol": 1, "scores": [1e999, null]}')])) as running:
        rewards = WeightedSum([RewardConfig(name="remote", url=running.url)])
        rewards.load(CPU, torch.float32)
        assert rewards(pictures(2, 4, 4), ["a", "b"], [{}, {}]).isnan().all()


def test_something_else_at_the_address():
    fix = r"protocol 'None'.*start a server with `fdfo serve-reward NAME`"
    with serving(Scripted([(200, {"hello": "world"})])) as running, pytest.raises(RewardError, match=fix):
        loaded(running.url)


# ---- requests are data ----


JSON = {"Content-Type": "application/json"}


def post(url, body, headers=JSON):
    try:
        with urlopen(Request(url + protocol.SCORE_PATH, data=body, headers=headers)) as answer:
            return answer.status, json.load(answer)
    except OSError as error:
        with error:
            return error.code, json.load(error)


GOOD = {"protocol": 1, "images": to_png(torch.zeros(1, 3, 2, 2)), "prompts": ["a"], "metadata": [{"n": 0}]}


@pytest.mark.parametrize(
    ("change", "status", "fragment"),
    [
        ({}, 200, ""),
        ({"protocol": 3}, 400, "protocol '3'"),
        ({"images": ["AAAA"]}, 400, "no PNG file"),
        ({"images": ["not base64!"]}, 400, "the request holds"),
        ({"images": []}, 400, "lists of the same length"),
        ({"prompts": ["a", "b"]}, 400, "lists of the same length"),
        ({"prompts": [3]}, 400, "prompts must be a list of str"),
        ({"metadata": "x"}, 400, "lists of the same length"),
        (None, 400, "not JSON"),
    ],
    ids=str,
)
def test_malformed_requests_are_refused(local, change, status, fragment):
    body = b"{" if change is None else json.dumps(GOOD | change).encode()
    with local() as running:
        found, answer = post(running.url, body)
    assert found == status
    assert fragment in answer.get("error", "")


def test_a_mistake_of_the_server_is_answered(local, monkeypatch):
    monkeypatch.setattr(server, "read_request", lambda payload: 1 / 0)
    with local() as running:
        status, answer = post(running.url, json.dumps(GOOD).encode())
    assert status == 500 and "ZeroDivisionError" in answer["error"]


def chunk(kind, data):
    """Of a PNG file."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def test_texts_inside_pictures_do_not_add_up():
    """A file of a few thousand bytes may unpack to sixty million as texts; one picture's are there at a time."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    texts = [chunk(b"zTXt", b"k%d\0\0" % number + zlib.compress(bytes(10**6))) for number in range(3)]
    pixel = chunk(b"IDAT", zlib.compress(bytes([0, 51, 102, 153])))
    picture = b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *texts, pixel, chunk(b"IEND", b"")])
    tracemalloc.start()
    images = from_png([b64encode(picture).decode()] * 20, 10**6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (images * 255).round().flatten(1).tolist() == [[51, 102, 153]] * 20
    assert peak < 30e6  # all together: 60 and more


def test_small_requests_of_many_values_are_refused(local):
    body = b'{"protocol": 1, "images": [' + b",".join([b"[]"] * (10**6 + 2)) + b"]}"
    with local() as running:
        status, answer = post(running.url, body)
    assert status == 413 and "more than 1000000 values" in answer["error"]


def test_pictures_that_would_fill_the_memory_are_refused():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="an image of 60000 x 60000 pixels; the largest side is 8192"):
        from_png([b64encode(bomb).decode()], 2**40)


def test_large_requests_and_images_are_refused(local, monkeypatch):
    monkeypatch.setattr(server, "LARGEST_REQUEST_BYTES", 100)
    with local() as running:
        assert post(running.url, json.dumps(GOOD).encode())[0] == 413
    monkeypatch.setattr("fdfo.rewards.png.LARGEST_SIDE", 4)
    with pytest.raises(ValueError, match="the largest side is 4"):
        from_png(to_png(torch.zeros(1, 3, 5, 2)), 100)


def test_more_pixels_than_fit_are_refused_before_they_are_decoded(local, monkeypatch):
    decoded = []
    monkeypatch.setattr(protocol, "MOST_PIXELS", 4)
    load = PngImageFile.load
    monkeypatch.setattr(PngImageFile, "load", lambda picture: decoded.append(picture) or load(picture))
    three = {"images": GOOD["images"] * 3, "prompts": ["a"] * 3, "metadata": [{"n": 0}] * 3}
    with local() as running:
        assert post(running.url, json.dumps(GOOD).encode())[0] == 200
        assert decoded
        decoded.clear()
        status, answer = post(running.url, json.dumps(GOOD | three).encode())
    assert status == 400 and not decoded
    assert "3 images of 2 x 2 pixels, more than 4 pixels in all; send fewer at a time (batch_size)" in answer["error"]


def test_images_of_different_sizes_are_refused():
    images = [*to_png(torch.zeros(1, 3, 2, 2)), *to_png(torch.zeros(1, 3, 3, 2))]
    with pytest.raises(ValueError, match="images of several sizes"):
        protocol.read_request(GOOD | {"images": images, "prompts": ["a", "b"], "metadata": [{}, {}]})


def test_batch_size_is_checked():
    with pytest.raises(RewardError, match="batch_size must be"):
        Remote(batch_size=0)
