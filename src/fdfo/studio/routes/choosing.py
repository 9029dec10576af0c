"""Choosing between two pictures: the page, what it shows, and what it sends."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from fdfo.errors import FdfoError
from fdfo.studio.desk import Answer, Declined, Desk, Wish
from fdfo.studio.pages import page
from fdfo.studio.pairs import pictures_of
from fdfo.studio.routes.bodies import body_of
from fdfo.studio.routes.streams import changes
from fdfo.web.guard import Refusal

MOST_STREAMS = 4
"""Open pages of one person."""

Handler = Callable[[Request, str], Awaitable[Response]]


class Choosing:
    """The handlers, of one desk."""

    def __init__(self, desk: Desk):
        self._desk = desk
        self._cookie = f"fdfo-{desk.people.run}"
        self._streams: dict[str, int] = {}

    def known(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """`handler`, for people with a token; they are its second argument."""

        async def answer(request: Request) -> Response:
            who = self._desk.people.who(request.cookies.get(self._cookie))
            if who is None:
                raise Refusal(401, "This link is not valid here; open the one that the run printed for you.")
            try:
                return await handler(request, who)
            except FdfoError as error:
                raise Refusal(404, f"The run cannot be read any more: {error}") from error

        return answer

    async def page(self, request: Request) -> Response:
        """The page; a token in its address becomes a cookie first, and leaves the address."""
        token = request.query_params.get("token")
        if token is None:
            return await self.known(_choose)(request)
        if self._desk.people.who(token) is None:
            raise Refusal(401, "This link is not valid here; open the one that the run printed for you.")
        answer = RedirectResponse("/choose", 303)
        answer.set_cookie(self._cookie, token, max_age=30 * 24 * 3600, httponly=True, samesite="lax")
        return answer

    async def state(self, request: Request, who: str) -> Response:
        """All that the page shows."""
        return JSONResponse(await run_in_threadpool(self._desk.view, who))

    async def answer(self, request: Request, who: str) -> Response:
        """Take a choice; acknowledged with what comes next, once it is on the disk."""
        answer = await body_of(request, Answer, "no choice")
        return await self._done(lambda: self._desk.answer(who, answer), who)

    async def show(self, request: Request, who: str) -> Response:
        """Take which pairs the page is to show; acknowledged once it is on the disk."""
        wish = await body_of(request, Wish, "no such wish")
        return await self._done(lambda: self._desk.show(who, wish), who)

    async def undo(self, request: Request, who: str) -> Response:
        """Take the latest choice back, and tell which it was."""
        return await self._done(lambda: self._desk.undo(who), who)

    async def _done(self, work: Callable[[], str | None], who: str) -> Response:
        try:
            pair = await run_in_threadpool(work)
        except Declined as declined:
            raise Refusal(declined.status, str(declined)) from declined
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk of the run is full" if full else f"the run folder cannot be written ({error.strerror})"
            raise Refusal(507, f"Not saved: {reason}. Make room, then do it again.") from error
        return JSONResponse(await run_in_threadpool(self._desk.view, who) | {"done": pair})

    async def events(self, request: Request, who: str) -> Response:
        """A stream with a line for every change of what the page shows."""
        if self._streams.get(who, 0) >= MOST_STREAMS:
            raise Refusal(429, f"more than {MOST_STREAMS} pages of one person are open; close one")
        return StreamingResponse(self._changes(request, who), media_type="text/event-stream")

    async def _changes(self, request: Request, who: str) -> AsyncIterator[str]:
        self._streams[who] = self._streams.get(who, 0) + 1
        try:
            async for line in changes(request, self._desk.version):
                yield line
        finally:
            self._streams[who] -= 1
            if not self._streams[who]:
                self._desk.leave(who)

    async def picture(self, request: Request, who: str) -> Response:
        """A picture of a pair, under a name that never stands for another one."""
        path = pictures_of(self._desk.run) / f"{request.path_params['name']}.png"
        if not path.is_file():
            raise Refusal(404, "this picture is not there any more")
        return FileResponse(
            path, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000, immutable"}
        )


async def _choose(request: Request, who: str) -> Response:
    return page("choose.html")


def routes(desk: Desk) -> list[BaseRoute]:
    """For the application of a desk."""
    part = Choosing(desk)
    return [
        Route("/choose", part.page),
        Route("/choose/state", part.known(part.state)),
        Route("/choose/events", part.known(part.events)),
        Route("/choose/answer", part.known(part.answer), methods=["POST"]),
        Route("/choose/show", part.known(part.show), methods=["POST"]),
        Route("/choose/undo", part.known(part.undo), methods=["POST"]),
        Route("/choose/pictures/{name:str}.png", part.known(part.picture)),
    ]
