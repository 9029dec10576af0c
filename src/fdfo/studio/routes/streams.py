"""Streams of server-sent events: a line whenever what a page shows has changed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

POLL_S = 0.2
"""How often it looks for changes in run folders."""
SIGN_OF_LIFE_S = 15.0
"""So often something is sent, that both ends notice when the other is gone."""


async def changes(request: Request, version: Callable[[], str], poll_s: float = POLL_S) -> AsyncIterator[str]:
    """`true` for every change of a text, the first one included; `false` as a sign of life.

    Where a look takes long, as at hundreds of runs, they are rarer: a page takes a fifth of a core at most.
    """
    known, told, clock = None, 0.0, asyncio.get_running_loop().time
    while not await request.is_disconnected():
        begun = clock()
        latest, moment = await run_in_threadpool(version), clock()
        if latest != known or moment - told > SIGN_OF_LIFE_S:
            yield f"data: {json.dumps(latest != known)}\n\n"
            known, told = latest, moment
        await asyncio.sleep(max(poll_s, 4 * (moment - begun)))
