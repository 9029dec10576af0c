"""The applications: routes/ has a file for each part, which share the pages' frame and style."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from fdfo import look
from fdfo.evaluation.report.page import style
from fdfo.studio.desk import Desk
from fdfo.studio.pages import problem_page
from fdfo.studio.routes import choosing, watching
from fdfo.studio.watch.actions import Actions
from fdfo.studio.watch.library import Library
from fdfo.web.guard import Refusal

MOST_BYTES = 16384
"""Of a request's body: a choice has 300, a wish to draw a prompt of 2000 characters 6 each at most, and 200 more."""

KINDS = {"css": "text/css", "js": "text/javascript"}
OWN = ("choose.css", "choose.js", "watch.css", "watch.js")
"""Files of static/ that pages load."""


def studio_app(desk: Desk) -> Starlette:
    """Serves the choosing page of a run."""
    return _app([Route("/", _start), *choosing.routes(desk)], None)


def watch_app(library: Library, actions: Actions) -> Starlette:
    """Serves the pages of all runs."""
    return _app(watching.routes(library, actions), "/")


def _app(routes: Sequence[BaseRoute], start: str | None) -> Starlette:
    """start: where a person goes on to from a page that cannot be shown."""

    async def refused(request: Request, error: Exception) -> Response:
        """As JSON to scripts, as a page to people."""
        assert isinstance(error, Refusal)
        if "text/html" in request.headers.get("accept", ""):
            return problem_page(str(error), error.status, start)
        return error.response()

    async def missing(request: Request, error: Exception) -> Response:
        return await refused(request, Refusal(404, "there is no such page"))

    assets = Route("/assets/{name}", _asset)
    return Starlette(routes=[assets, *routes], exception_handlers={Refusal: refused, 404: missing})


async def _start(request: Request) -> Response:
    """The address that people are given; a token goes on with it."""
    return RedirectResponse(f"/choose?{request.url.query}" if request.url.query else "/choose", 303)


@cache
def _text_of(name: str) -> str | None:
    """A file that pages load; None where there is none of this name."""
    made = {"base.css": lambda: look.source("base.css"), "look.css": style, "look.js": look.script}
    if name in OWN:
        return (files("fdfo.studio") / "static" / name).read_text(encoding="utf-8")
    return made[name]() if name in made else None


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    text = _text_of(name)
    if text is None:
        raise Refusal(404, "there is no such file")
    return Response(text, media_type=KINDS[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})
