"""The application: routes/ has a file for each part, which share the pages' frame, style and tokens."""

from collections.abc import Sequence
from importlib.resources import files

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from fdfo.look import source
from fdfo.studio.desk import Desk
from fdfo.studio.pages import problem_page
from fdfo.studio.routes import choosing
from fdfo.web.guard import Refusal

MOST_BYTES = 4096
"""Of a request's body: a choice has 300."""

ASSETS = {"base.css": "text/css", "choose.css": "text/css", "choose.js": "text/javascript"}
"""Files that pages load, from fdfo.look and from static/."""


def studio_app(desk: Desk) -> Starlette:
    """Serves the choosing page of a run."""
    routes: Sequence[BaseRoute] = [Route("/", _start), Route("/assets/{name}", _asset), *choosing.routes(desk)]
    return Starlette(routes=routes, exception_handlers={Refusal: _refused, 404: _missing})


async def _start(request: Request) -> Response:
    """The address that people are given; a token goes on with it."""
    return RedirectResponse(f"/choose?{request.url.query}" if request.url.query else "/choose", 303)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in ASSETS:
        raise Refusal(404, "there is no such file")
    text = source(name) if name == "base.css" else (files("fdfo.studio") / "static" / name).read_text(encoding="utf-8")
    return Response(text, media_type=ASSETS[name], headers={"Cache-Control": "no-cache"})


async def _refused(request: Request, error: Exception) -> Response:
    """As JSON to scripts, as a page to people."""
    assert isinstance(error, Refusal)
    if "text/html" in request.headers.get("accept", ""):
        return problem_page(str(error), error.status)
    return error.response()


async def _missing(request: Request, error: Exception) -> Response:
    return await _refused(request, Refusal(404, "there is no such page"))
