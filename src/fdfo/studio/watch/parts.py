"""What pages show of runs, part by part, as the report shows it: a page that is open replaces those that changed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from fdfo.evaluation.report import curves, decimals, gallery, groups
from fdfo.evaluation.report.page import overview, side_by_side, templates
from fdfo.evaluation.report.record import RunRecord, read_run, read_runs
from fdfo.evaluation.runs import CHECKPOINTS, EPOCH, KEPT
from fdfo.own import numbered
from fdfo.studio.progress import stamp
from fdfo.studio.watch.library import written_of
from fdfo.studio.watch.status import Status, status_of
from fdfo.visible import visible

IN_MEMORY = 8
"""Runs whose parts are kept until they change: pictures take a while."""


@dataclass(frozen=True)
class Part:
    """A section of a page."""

    name: str
    title: str
    html: Markup

    @property
    def digest(self) -> str:
        """Another text for another content."""
        return hashlib.sha256(self.html.encode()).hexdigest()[:16]


@cache
def environment() -> Environment:
    """Templates of the studio and of the report."""
    return templates("fdfo.studio")


def filled(template: str, values: Mapping[str, Any]) -> Markup:
    """A template as it stands in a page."""
    return Markup(visible(environment().get_template(template).render(**values)))


@dataclass(frozen=True)
class Seen:
    """A run, as lists and pages begin with it."""

    key: str
    record: RunRecord
    status: Status
    view: Any
    """The report's; fdfo.evaluation.report.page.RunView."""
    decimals: decimals.Decimals
    """Of its scores, where it stands alone."""

    @property
    def kept(self) -> list[tuple[str, bool]]:
        """Its checkpoints, and whether each was marked as kept."""
        folder = self.record.folder / CHECKPOINTS
        return [(path.name, (folder / f"{path.name}{KEPT}").exists()) for path in numbered(folder, EPOCH).values()]


def seen(key: str, folder: Path) -> Seen:
    """Read it. Raises CheckpointError where it is none any more."""
    return _seen(key, folder, repr(written_of(folder)))


@lru_cache(maxsize=256)
def _seen(key: str, folder: Path, version: str) -> Seen:
    record = read_run(folder)
    places = decimals.of_runs([record])
    return Seen(key, record, status_of(record), overview([record], places)["runs"][0], places)


RUN_PARTS = {
    "pictures": "Before training and now",
    "results": "Held-out results",
    "curves": "Curves",
    "pairs": "What it learns from",
    "alarms": "Alarms",
    "cost": "Time and memory",
    "setup": "Settings",
}
COMPARED_PARTS = {
    "curves": "Curves",
    "pictures": "The same prompts and noise",
    "results": "Side by side",
    "differences": "What differs in the settings",
    "cost": "Time and memory",
}


def run_parts(folder: Path) -> list[Part]:
    """Of the page of one run."""
    return _run_parts(folder, repr(written_of(folder)))


@lru_cache(maxsize=IN_MEMORY)
def _run_parts(folder: Path, version: str) -> list[Part]:
    record = read_run(folder)
    places = decimals.of_runs([record])
    values = overview([record], places)
    values |= {"run": values["runs"][0], "curves": curves.curves([record], places)}
    pictures = repr(([past.epoch for past in record.evaluations], stamp(folder / "samples"), places))

    def html(name: str) -> Markup:
        if name == "pictures":
            return _gallery((folder,), pictures, lambda: gallery.gallery([record], places))
        if name == "pairs":
            return _pairs(folder, pictures, lambda: groups.groups(record, places))
        return filled(f"watch/{name}.html", values)

    return [Part(name, title, html(name)) for name, title in RUN_PARTS.items()]


def compared_parts(folders: Sequence[Path]) -> list[Part]:
    """Of the page of several runs."""
    return _compared_parts(tuple(folders), repr([written_of(folder) for folder in folders]))


@lru_cache(maxsize=IN_MEMORY)
def _compared_parts(folders: Sequence[Path], version: str) -> list[Part]:
    records = read_runs(list(folders))
    places = decimals.of_runs(records)
    values = overview(records, places) | side_by_side(records, places)
    pictures = repr([([past.epoch for past in one.evaluations], stamp(one.folder / "samples")) for one in records])

    def html(name: str) -> Markup:
        if name == "pictures":
            return _gallery(tuple(folders), pictures, lambda: gallery.gallery(records, places))
        return filled(f"watch/compared-{name}.html", values)

    return [Part(name, title, html(name)) for name, title in COMPARED_PARTS.items()]


_kept: dict[tuple[str, tuple[Path, ...]], tuple[str, Markup]] = {}
"""Parts with pictures by name and runs, each with its version."""


def _gallery(folders: tuple[Path, ...], version: str, make: Callable[[], Any]) -> Markup:
    values = {"runs": folders}
    return _with_pictures("watch/pictures.html", folders, version, lambda: {**values, "gallery": make()})


def _pairs(folder: Path, version: str, make: Callable[[], Any]) -> Markup:
    return _with_pictures("watch/pairs.html", (folder,), version, lambda: {"runs": (folder,), "group_epochs": make()})


def _with_pictures(
    template: str, folders: tuple[Path, ...], version: str, values: Callable[[], Mapping[str, Any]]
) -> Markup:
    """The same as long as the version is."""
    known, html = _kept.get((template, folders), ("", Markup()))
    if known != version:
        html = filled(template, values())
        _kept[template, folders] = version, html
        while len(_kept) > IN_MEMORY:
            del _kept[next(iter(_kept))]
    return html
