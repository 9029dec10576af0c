"""Pictures for the page: the gallery of fixed prompts over the epochs, and the groups compared in training."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from PIL import Image

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import Grid, read_grid
from fdfo.evaluation.report.decimals import Decimals
from fdfo.evaluation.report.record import RunRecord
from fdfo.evaluation.report.text import enumerate_words, fixed
from fdfo.files import finite
from fdfo.own import numbered, sound

MAX_SIDE = 256
"""Larger tiles are scaled down, but for those that the page shows first."""

FULL_PIXELS = 48 * 768**2
"""Of all tiles that are shown first: 24 pairs of at most 768 pixels a side, about 6 MB."""

LOSSLESS_SIDE = 96
"""Tiles up to this size stay as they are and are shown with visible pixels; larger ones become JPEG."""

JPEG_QUALITY = 82

MAX_PIXELS = 8 * 24 * MAX_SIDE**2
"""Of all gallery tiles of a page: 8 epochs of 24 large tiles, about 4 MB; the pairs get a quarter of it."""

MAX_EPOCHS = 25
"""Epochs shown of one gallery."""

Outcome = Literal["better", "worse", "the same"]

File = tuple[RunRecord, int, Path]
"""A PNG grid with its run and epoch."""


@dataclass(frozen=True)
class Snapshot:
    """The gallery of one run after one epoch."""

    run: str
    epoch: int
    label: str
    tiles: list[str]
    """Data URI of every tile."""
    values: dict[str, list[float]]
    """Scores of the tiles by label of the score, rounded as they are shown."""


@dataclass(frozen=True)
class Tile:
    """A prompt with its pictures on the left and the right side, and one score of both."""

    title: str
    left: str
    right: str
    before: str
    after: str
    change: str
    outcome: Outcome | None
    """None where a score is missing."""


@dataclass(frozen=True)
class Gallery:
    """Snapshots of the same prompts and noise."""

    titles: list[str]
    snapshots: list[Snapshot]
    left: int
    right: int
    """Snapshots shown first."""
    is_pixelated: bool
    aspect: str
    decimals: Decimals
    """Of the scores of the tiles, by label."""
    stored: str
    """How large the pictures shown first are here, where that is not their size; else empty."""
    num_left_out: int
    """Saved epochs that the page has no room for."""
    other_prompts: list[str]
    """Runs that were judged on other prompts, which are not shown."""

    @property
    def loads(self) -> dict[str, object]:
        """What the page's script needs; the tiles of the two snapshots shown first are in the page already."""
        shown = (self.left, self.right)
        snapshots = [
            {"label": one.label, "tiles": [] if i in shown else one.tiles, "values": finite(one.values)}
            for i, one in enumerate(self.snapshots)
        ]
        return {"snapshots": snapshots, "decimals": dict(self.decimals)}

    @property
    def tiles(self) -> list[Tile]:
        """The tiles as they are shown first."""
        left, right = self.snapshots[self.left], self.snapshots[self.right]
        label = next(iter(self.decimals), "")
        places = self.decimals.get(label, 0)
        none = [float("nan")] * len(self.titles)
        columns = (one.values.get(label, none) for one in (left, right))
        rows = zip(self.titles, left.tiles, right.tiles, *columns, strict=True)
        return [_tile(title, sources, (before, after), places) for title, *sources, before, after in rows]

    @property
    def tally(self) -> str:
        """How many of the tiles are better, worse and the same, in words."""
        counts = [sum(tile.outcome == outcome for tile in self.tiles) for outcome in get_args(Outcome)]
        words = enumerate_words([f"{count} {name}" for count, name in zip(counts, get_args(Outcome), strict=True)])
        return f"By {next(iter(self.decimals))}: {words}."


def gallery(records: Sequence[RunRecord], decimals: Decimals) -> Gallery | None:
    """Snapshots of the first run that has any, and of the runs on the same held-out list; None where none has."""
    files = from_first_sound([(record, epoch, path) for record in records for epoch, path in files_of(record, "epoch")])
    if not files:
        return None
    first, _ = read_grid(files[0][2])
    room = room_for(first, len(first.titles), MAX_PIXELS, MAX_EPOCHS)
    chosen = []
    for record in records:
        own = [file for file in files if file[0] is record]
        must = {0, record.best_epoch, own[-1][1]} if own else set()
        chosen += spread_over(own, max(2, room // len(records)), must)
    # A prompt's noise depends on its place in the list: the same titles of another list are other pictures.
    prompts = files[0][0].evaluations[0].prompts
    read = [(record, epoch, sound(path, read_grid, record.complain)) for record, epoch, path in chosen]
    grids = [(record, epoch, *found) for record, epoch, found in read if found is not None]
    fitting = [
        one
        for one in grids
        if one[0].evaluations[0].prompts == prompts and (one[2].titles, one[2].tile) == (first.titles, first.tile)
    ]
    others = [record.label for record in records if record in [one[0] for one in grids if one not in fitting]]
    left, right = _left([record.label for record, *_ in fitting]), len(fitting) - 1
    side = full_side(first.tile, 2 * len(first.titles))
    snapshots = [
        _snapshot(*one, alone=len(records) == 1, side=side if i in (left, right) else MAX_SIDE, decimals=decimals)
        for i, one in enumerate(fitting)
    ]
    labels = dict.fromkeys(label for one in snapshots for label in one.values)
    return Gallery(
        titles=first.titles,
        snapshots=snapshots,
        left=left,
        right=right,
        is_pixelated=max(first.tile) <= LOSSLESS_SIDE,
        aspect=f"{first.tile[1]} / {first.tile[0]}",
        decimals={label: decimals[label] for label in labels},
        stored=stored(first.tile, side),
        num_left_out=len(files) - len(chosen),
        other_prompts=others,
    )


def full_side(tile: tuple[int, int], count: int) -> int:
    """Pixels of the longer side in which so many tiles (height, width) are shown large."""
    return min(max(tile), int((FULL_PIXELS / count * max(tile) / min(tile)) ** 0.5))


def stored(tile: tuple[int, int], side: int) -> str:
    """How large tiles (height, width) are kept, where that is not as they are; else empty."""
    height, width = (round(pixels * side / max(tile)) for pixels in tile)
    return "" if side == max(tile) else f"{width} × {height} of {tile[1]} × {tile[0]} pixels"


def data_uri(image: Image.Image, side: int) -> str:
    """A picture as text, small ones without loss, large ones as JPEG of at most `side` pixels a side."""
    buffer = io.BytesIO()
    image = image.convert("RGB")
    if max(image.size) <= LOSSLESS_SIDE:
        image.save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    image.thumbnail((side, side), reducing_gap=1.0)  # whole factors by averaging: four times faster
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


# ---- which epochs ----


def files_of(record: RunRecord, kind: str) -> list[tuple[int, Path]]:
    """Epochs and PNG files of a kind; those that belong to no event of the run are left-overs of an interruption."""
    known = {past.epoch for past in record.evaluations} if kind == "epoch" else {e["epoch"] for e in record.rollouts}
    described = numbered(record.folder / "samples", kind, ".json")
    found = [(epoch, path.with_suffix(".png")) for epoch, path in described.items()]
    return [(epoch, path) for epoch, path in found if epoch in known and path.is_file()]


def from_first_sound(files: list[File]) -> list[File]:
    """The same files without damaged ones at the beginning."""
    while files and sound(files[0][2], read_grid, files[0][0].complain) is None:
        files = files[1:]
    return files


def room_for(grid: Grid, tiles: int, pixels: int, most: int) -> int:
    """Epochs of so many tiles that fit into so many pixels."""
    shrink = min(1.0, MAX_SIDE / max(grid.tile))
    area = grid.tile[0] * grid.tile[1] * shrink**2
    return min(most, max(1, int(pixels / max(1.0, tiles * area))))


def spread_over(files: list[File], room: int, must: set[int | None]) -> list[File]:
    """At most about `room` files: those that must be there, and the others evenly spread."""
    if len(files) <= room:
        return files
    step = (len(files) - 1) / max(1, room - 1)
    kept = {round(i * step) for i in range(room)} if room > 1 else set()
    return [file for i, file in enumerate(files) if i in kept or file[1] in must]


def _left(runs: Sequence[str]) -> int:
    """What is shown beside the last of snapshots: the first of its run, or the latest of the first of several runs."""
    return 0 if runs[0] == runs[-1] else max(i for i, run in enumerate(runs) if run == runs[0])


# ---- views ----


def _tile(title: str, sources: Sequence[str], values: tuple[float, float], places: int) -> Tile:
    change = round(values[1] - values[0], places)
    outcome: Outcome = "better" if change > 0 else "worse" if change < 0 else "the same"
    texts = [fixed(value, places) for value in values] + [fixed(change, places, signed=True)]
    left, right = sources
    return Tile(title, left, right, *texts, outcome=outcome if math.isfinite(change) else None)


def _snapshot(
    record: RunRecord,
    epoch: int,
    grid: Grid,
    tiles: Sequence[Image.Image],
    *,
    alone: bool,
    side: int,
    decimals: Decimals,
) -> Snapshot:
    marks = ["before training"] if epoch == 0 else []
    marks += ["best"] if epoch == record.best_epoch and epoch > 0 else []
    marks += ["latest"] if epoch == record.evaluations[-1].epoch and epoch > 0 else []
    label = f"epoch {epoch}" + (f" ({', '.join(marks)})" if marks else "")
    evaluation = next(past for past in record.evaluations if past.epoch == epoch)
    rows = _rows(evaluation, grid.titles)
    values = {}
    for score in record.scores if rows else []:
        found = evaluation.scores[score.key]
        values[score.label] = [round(found[row], decimals[score.label]) for row in rows]
    name = label if alone else f"{record.label}, {label}"
    return Snapshot(record.label, epoch, name, [data_uri(tile, side) for tile in tiles], values)


def _rows(evaluation: Evaluation, titles: Sequence[str]) -> list[int]:
    """Row of the scores of every tile: the first image of each of the prompts, which are evenly spread over the list.

    Empty where the titles are other ones.
    """
    count = len(evaluation.prompts)
    places = [i * count // len(titles) for i in range(len(titles))]
    fits = [evaluation.prompts[place] for place in places] == list(titles)
    return [place * evaluation.images_per_prompt for place in places] if fits else []
