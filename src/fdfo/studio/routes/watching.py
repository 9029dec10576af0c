"""Watching runs: their list, the page of one, of several, their trade-offs, and the few wishes that pages send.

Every page is made of parts. One that is open says which it has, by their digests, and gets those that have changed.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from fdfo.errors import FdfoError
from fdfo.evaluation.report.decimals import together
from fdfo.evaluation.report.setup import export_format
from fdfo.evaluation.report.tradeoffs import scores_of, trade_off
from fdfo.studio.pages import PICTURES_INSIDE, html_page
from fdfo.studio.routes.bodies import body_of
from fdfo.studio.routes.streams import changes
from fdfo.studio.watch.actions import Actions, Drawing, OfCheckpoint
from fdfo.studio.watch.contact import contact_sheet, full_picture, strip
from fdfo.studio.watch.library import Library, written_of
from fdfo.studio.watch.parts import Part, Seen, compared_parts, environment, filled, run_parts, seen
from fdfo.web.guard import Refusal

POLL_S = 1.0
"""How often a stream looks at run folders, which may be on another machine."""
MOST_COMPARED = 12
MOST_LISTED = 100
"""Runs on one page, of those that are kept in memory."""


class Watching:
    """The handlers, of one library."""

    def __init__(self, library: Library, actions: Actions):
        self._library, self._actions = library, actions

    # ---- pages ----

    def runs(self, request: Request) -> Response:
        """All runs."""
        known, damaged, first = list(self._library.runs().items()), [], _number(request, "first", 0)
        found = []
        for key, folder in known[first : first + MOST_LISTED]:
            try:
                found.append(seen(key, folder))
            except FdfoError as error:
                damaged.append(str(error))
        roots = [str(root) for root in self._library.roots]
        values = {"runs": found, "damaged": damaged, "roots": roots, "link": link}
        values |= {"newer": min(first, len(known)), "older": max(0, len(known) - first - MOST_LISTED)}
        values |= {"before": max(0, first - MOST_LISTED), "after": first + MOST_LISTED}
        html = filled("watch/runs.html", values | {"decimals": together(one.decimals for one in found)})
        return _page(request, "Runs", "runs", [Part("runs", "", html)])

    def run(self, request: Request) -> Response:
        """One run."""
        (one,) = self._chosen(request, 1)
        jobs = {kind: self._actions.jobs.get((one.record.folder, kind)) for kind in ("draw", "export")}
        values = {"one": one, "run": one.view, "runs": [one.view], "link": link}
        values["export_format"] = export_format(one.record)
        parts = [
            Part("now", "", filled("watch/now.html", values)),
            Part("work", "", filled("watch/work.html", {"jobs": jobs, "key": one.key})),
        ]
        judged = one.record.evaluations
        form = None
        if one.kept and judged:
            form = filled("watch/draw.html", {"one": one, "prompt": judged[0].prompts[0]})
        return _page(request, one.record.label, "run", [*parts, *run_parts(one.record.folder)], form=form)

    def compare(self, request: Request) -> Response:
        """Several runs side by side."""
        runs = self._chosen(request, MOST_COMPARED)
        if len(runs) == 1:
            raise Refusal(404, "one run has nothing to be compared with; mark several in the list of runs")
        sheet = Part("sheet", "Contact sheet", filled("watch/sheet.html", {"sheet": contact_sheet(runs), "link": link}))
        parts = compared_parts([one.record.folder for one in runs])
        return _page(request, f"{len(runs)} runs", "compare", [parts[0], sheet, *parts[1:]])

    def sheet(self, request: Request) -> Response:
        """What runs drew, as a table of pictures."""
        runs = self._chosen(request, MOST_COMPARED)
        found = contact_sheet(runs, _number(request, "epoch") if "epoch" in request.query_params else None)
        title = "Contact sheet" if len(runs) > 1 else f"Contact sheet of {runs[0].record.label}"
        part = Part("sheet", "", filled("watch/sheet.html", {"sheet": found, "link": link}))
        return _page(request, title, "sheet", [part])

    def tradeoffs(self, request: Request) -> Response:
        """Two scores of all evaluations."""
        keys = request.query_params.getlist("run")
        runs = self._chosen(request, MOST_COMPARED) if keys else self._latest(MOST_COMPARED)
        records = [one.record for one in runs]
        names = scores_of(records)
        wanted = [request.query_params.get(axis) for axis in ("x", "y")]
        x, y = (one if one in names else None for one in wanted)
        shown = (x or names[0], y or names[min(1, len(names) - 1)]) if names else None
        decimals = together(one.decimals for one in runs)
        plot = trade_off(records, [one.key for one in runs], *shown, decimals) if shown else None
        values = {"runs": runs, "names": names, "plot": plot, "link": link}
        return _page(request, "Trade-offs", "tradeoffs", [Part("plot", "", filled("watch/tradeoffs.html", values))])

    def _latest(self, count: int) -> list[Seen]:
        found = []
        for key, folder in list(self._library.runs().items())[:count]:
            try:
                found.append(seen(key, folder))
            except FdfoError:
                continue  # the list of runs tells
        return found

    def _chosen(self, request: Request, most: int) -> list[Seen]:
        """Runs that an address names. Raises Refusal."""
        return [seen(key, folder) for key, folder in self._folders(request, most).items()]

    def _folders(self, request: Request, most: int) -> dict[str, Path]:
        known, keys = self._library.runs(), list(dict.fromkeys(request.query_params.getlist("run")))
        if not keys or len(keys) > most:
            raise Refusal(404, f"name 1 to {most} runs in the address")
        if missing := [key for key in keys if key not in known]:
            raise Refusal(404, f"there is no run {missing[0]!r} here any more")
        return {key: known[key] for key in keys}

    # ---- what changes, and pictures ----

    async def events(self, request: Request) -> Response:
        """A line for every change of the runs that the address names, or of all."""
        is_of_some = bool(request.query_params.getlist("run"))
        folders = list(self._folders(request, MOST_COMPARED).values()) if is_of_some else None

        def version() -> str:
            jobs = [(job.title, job.state) for job in self._actions.jobs.values()]
            found = self._library.version() if folders is None else [written_of(folder) for folder in folders]
            return repr((found, jobs))

        return StreamingResponse(changes(request, version, POLL_S), media_type="text/event-stream")

    async def drawn(self, request: Request) -> Response:
        """One picture of what was drawn last for a run."""
        (folder,) = self._folders(request, 1).values()
        job, number = self._actions.jobs.get((folder, "draw")), _number(request, "number")
        pictures = job.pictures if job is not None else []
        if job is None or number >= len(pictures) or request.query_params.get("of") != job.output.name:
            raise Refusal(404, "this picture is not there any more")
        return FileResponse(pictures[number], media_type="image/png", headers={"Cache-Control": "no-store"})

    def picture(self, request: Request) -> Response:
        """One picture of an evaluation, of the size that it was saved in."""
        (one,) = self._chosen(request, 1)
        return _png(full_picture(one, _number(request, "epoch"), _number(request, "number")))

    def strip(self, request: Request) -> Response:
        """A few pictures of an evaluation in a row."""
        (one,) = self._chosen(request, 1)
        return _png(strip(one, _number(request, "epoch")))

    # ---- wishes ----

    async def stop(self, request: Request) -> Response:
        """End a run as Ctrl-C does."""
        return await self._do(request, lambda folder: self._actions.stop(folder))

    async def keep(self, request: Request) -> Response:
        """Mark a checkpoint as kept."""
        wish = await body_of(request, OfCheckpoint)
        return await self._do(request, lambda folder: self._actions.keep(folder, wish.checkpoint))

    async def export(self, request: Request) -> Response:
        """Export a checkpoint."""
        wish = await body_of(request, OfCheckpoint)
        return await self._do(request, lambda folder: self._actions.export(folder, wish.checkpoint))

    async def draw(self, request: Request) -> Response:
        """Draw a prompt with a checkpoint."""
        wish = await body_of(request, Drawing)
        return await self._do(request, lambda folder: self._actions.draw(folder, wish))

    async def _do(self, request: Request, work: Callable[[Path], None]) -> Response:
        (folder,) = self._folders(request, 1).values()
        try:
            await run_in_threadpool(work, folder)
        except OSError as error:
            raise Refusal(507, f"the run folder cannot be written: {error.strerror}") from error
        return JSONResponse({"done": True})


def _number(request: Request, name: str, default: int | None = None) -> int:
    """A whole number of the address. Raises Refusal."""
    text = request.query_params.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise Refusal(404, f"{name} is a whole number")
    return int(text[:9])


def _png(data: bytes | None) -> Response:
    if data is None:
        raise Refusal(404, "this picture is not there any more")
    return Response(data, media_type="image/png")


def link(page: str, *runs: str, **more: Any) -> str:
    """The address of a page for some runs."""
    return f"/{page}?{urlencode([*(('run', key) for key in runs), *more.items()])}"


def _page(request: Request, title: str, kind: str, parts: Sequence[Part], **values: Any) -> Response:
    """A page, or those of its parts that an open one does not have."""
    if "have" in request.headers:
        have = set(request.headers["have"].split(","))
        return JSONResponse({part.name: [part.digest, part.html] for part in parts if part.digest not in have})
    values = {"form": None} | values | {"title": title, "kind": kind, "parts": parts, "query": request.url.query}
    return html_page(environment(), "watch/page.html", values, PICTURES_INSIDE)


def routes(library: Library, actions: Actions) -> list[BaseRoute]:
    """For the application that watches."""
    part = Watching(library, actions)

    def handled(handler: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return await run_in_threadpool(handler, request)
            except FdfoError as error:
                raise Refusal(404, str(error)) from error

        return answer

    pages = {"/": part.runs, "/run": part.run, "/compare": part.compare, "/sheet": part.sheet}
    pages |= {"/tradeoffs": part.tradeoffs, "/picture": part.picture, "/strip": part.strip}
    wishes = {"stop": part.stop, "keep": part.keep, "export": part.export, "draw": part.draw}
    return [
        *(Route(path, handled(handler)) for path, handler in pages.items()),
        Route("/events", part.events),
        Route("/drawn", part.drawn),
        *(Route(f"/{name}", handler, methods=["POST"]) for name, handler in wishes.items()),
    ]
