"""One reward over HTTP (protocol.py): an application for fdfo.web."""

import hmac
import json
from asyncio import Lock
from collections.abc import Awaitable, Callable
from typing import Any

import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fdfo.errors import FdfoError
from fdfo.rewards.protocol import NAME_PATH, PROTOCOL, SCORE_PATH, read_request, reply
from fdfo.rewards.weighted import WeightedSum
from fdfo.web.budget import Budget
from fdfo.web.guard import Refusal

LARGEST_REQUEST_BYTES = 2**28
"""Most bytes of one request, and of all requests at the same time; others wait until these are answered."""

MOST_VALUES = 10**6
"""Most values in the JSON of a request: an empty list takes twenty times as much memory as its text."""


def reward_app(reward: WeightedSum, name: str, device: torch.device, key: str | None) -> Starlette:
    """Serves a loaded reward. With a key, clients must send it. Nothing in a request is executed.

    Requests are decoded and scored one at a time: what they take in memory does not add up.
    """
    one_at_a_time, budget = Lock(), Budget(LARGEST_REQUEST_BYTES)

    async def tell_name(request: Request) -> Response:
        _check_key(request, key)
        return JSONResponse({"protocol": PROTOCOL, "reward": name})

    async def score(request: Request) -> Response:
        _check_key(request, key)
        async with budget.held(int(request.headers["content-length"])):
            body = await request.body()
            async with one_at_a_time:
                return JSONResponse(await run_in_threadpool(_scored, reward, name, device, body))

    async def missing(request: Request, error: Exception) -> Response:
        there = f"nothing here; this server has GET {NAME_PATH} and POST {SCORE_PATH}"
        return Refusal(404, there).response()

    return Starlette(
        routes=[Route(NAME_PATH, _answered(tell_name)), Route(SCORE_PATH, _answered(score), methods=["POST"])],
        exception_handlers={404: missing, 405: missing},
    )


def _answered(work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`work`, with an answer whatever it raises: without one, clients would take this server for one that is away."""

    async def answer(request: Request) -> Response:
        try:
            return await work(request)
        except Refusal as refusal:
            return refusal.response()
        except ClientDisconnect:
            return Response()  # to nobody
        except Exception as error:
            return Refusal(500, f"{type(error).__name__}: {error}").response()

    return answer


def _check_key(request: Request, key: str | None) -> None:
    sent = request.headers.get("Authorization", "")
    if key is not None and not hmac.compare_digest(sent.encode(), f"Bearer {key}".encode()):
        raise Refusal(401, "the key is missing or wrong")


def _scored(reward: WeightedSum, name: str, device: torch.device, body: bytes) -> dict[str, Any]:
    """The reply to a request. Raises Refusal."""
    if body.count(b",") > MOST_VALUES:  # a comma stands between any two values
        raise Refusal(413, f"the request has more than {MOST_VALUES} values; send less at a time")
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the request is not JSON") from error
    try:
        images, prompts, metadata = read_request(payload)
    except ValueError as error:
        raise Refusal(400, f"the request holds {error}") from error
    try:
        with torch.no_grad():
            scores = reward(images.to(device), prompts, metadata).cpu()
    except torch.OutOfMemoryError as error:
        smaller = max(1, len(images) // 2)
        raise Refusal(422, f"{error}; for the remote score, try batch_size={smaller}") from error
    except FdfoError as error:
        raise Refusal(422, str(error)) from error
    return reply(scores, name)
