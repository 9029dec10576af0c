"""A contact sheet: a row for each run, or for each evaluation of one, a column for each prompt."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps

from fdfo.evaluation.pictures import read_grid
from fdfo.evaluation.report.curves import color_of_run
from fdfo.evaluation.report.gallery import data_uri, files_of
from fdfo.own import sound
from fdfo.studio.watch.parts import Seen

SIDE = 160
"""Pixels of the longer side of a picture here."""
MOST_ROWS, MOST_COLUMNS = 24, 12
STRIP, STRIP_SIDE, STRIP_GAP = 4, 144, 8
"""Pictures of a strip, the pixels of their sides, and those between them; shown at half the size."""


@dataclass(frozen=True)
class Cell:
    """A picture."""

    small: str
    """Data URI."""
    number: int
    """Among the pictures of its evaluation."""


@dataclass(frozen=True)
class Row:
    """Pictures of one set of weights."""

    label: str
    color: int
    key: str
    """Of the run."""
    epoch: int
    pictures: list[Cell | None]
    """For each prompt; None where it has none of this prompt."""


@dataclass(frozen=True)
class Sheet:
    """The rows, of which all show the same prompts and start noise."""

    prompts: list[str]
    rows: list[Row]
    is_pixelated: bool
    has_keys: bool = False
    """Whether rows are of several runs, and known by their colours."""


def contact_sheet(runs: Sequence[Seen], epoch: int | None = None) -> Sheet:
    """Of several runs what they drew last, below the base of the first one; of one run all that it drew.

    epoch: that one alone, below the base.
    """
    files: list[tuple[Row, Path]] = []
    for index, one in enumerate(runs):
        own = files_of(one.record, "epoch")
        wanted = own if len(runs) == 1 and epoch is None else [file for file in own[-1:] if epoch is None]
        wanted = [file for file in own if file[0] == epoch] if epoch is not None else wanted
        base = own[:1] if index == 0 and own[:1] != wanted[:1] else []
        name = "" if len(runs) == 1 else f"{one.record.label}, "
        files += [
            (
                Row(
                    name + (f"epoch {number}" if number else "before training"),
                    color_of_run(index),
                    one.key,
                    number,
                    [],
                ),
                path,
            )
            for number, path in [*base, *wanted][-MOST_ROWS:]
        ]
    grids = [(row, *grid) for row, path in files if (grid := sound(path, read_grid)) is not None]
    if not grids:
        return Sheet([], [], False)
    _, first, _ = grids[0]
    prompts = first.titles[:MOST_COLUMNS]
    rows = [replace(row, pictures=_cells(grid.titles, tiles, prompts)) for row, grid, tiles in grids]
    return Sheet(prompts, rows, max(first.tile) <= 96, has_keys=len(runs) > 1)


def _cells(titles: Sequence[str], tiles: Sequence[Image.Image], prompts: Sequence[str]) -> list[Cell | None]:
    places = {title: number for number, title in enumerate(titles)}
    return [
        Cell(data_uri(tiles[places[prompt]], SIDE), places[prompt]) if prompt in places else None for prompt in prompts
    ]


def full_picture(one: Seen, epoch: int, number: int) -> bytes | None:
    """A picture of an evaluation as it was saved, as PNG; None where there is no such one."""
    tiles = _tiles(one, epoch)
    return _png(tiles[number]) if number < len(tiles) else None


def strip(one: Seen, epoch: int) -> bytes | None:
    """The first pictures of an evaluation in a row, as PNG; None where there are none."""
    tiles = _tiles(one, epoch)[:STRIP]
    if not tiles:
        return None
    filter = Image.Resampling.NEAREST if max(tiles[0].size) < STRIP_SIDE else Image.Resampling.LANCZOS
    made = Image.new("RGBA", (len(tiles) * (STRIP_SIDE + STRIP_GAP) - STRIP_GAP, STRIP_SIDE))
    for number, tile in enumerate(tiles):
        made.paste(ImageOps.fit(tile, (STRIP_SIDE, STRIP_SIDE), filter), (number * (STRIP_SIDE + STRIP_GAP), 0))
    return _png(made)


def _tiles(one: Seen, epoch: int) -> Sequence[Image.Image]:
    path = dict(files_of(one.record, "epoch")).get(epoch)
    found = None if path is None else sound(path, read_grid)
    return [] if found is None else found[1]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
