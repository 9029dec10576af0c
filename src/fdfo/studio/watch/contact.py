"""A contact sheet: a row for each run, or for each evaluation of one, a column for each prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fdfo.evaluation.pictures import read_grid
from fdfo.evaluation.report.curves import color_of_run
from fdfo.evaluation.report.gallery import data_uri, files_of
from fdfo.own import sound
from fdfo.studio.watch.parts import Seen

SIDE = 160
"""Pixels of the longer side of a picture here."""
MOST_ROWS, MOST_COLUMNS = 24, 12


@dataclass(frozen=True)
class Row:
    """Pictures of one set of weights."""

    label: str
    color: int
    pictures: list[str | None]
    """Data URI for each prompt; None where it has none of this prompt."""


@dataclass(frozen=True)
class Sheet:
    """The rows, of which all show the same prompts and start noise."""

    prompts: list[str]
    rows: list[Row]
    is_pixelated: bool


def contact_sheet(runs: Sequence[Seen], epoch: int | None = None) -> Sheet:
    """Of several runs what they drew last, below the base of the first one; of one run all that it drew.

    epoch: that one alone, below the base.
    """
    files: list[tuple[str, int, Path]] = []
    for index, one in enumerate(runs):
        own = files_of(one.record, "epoch")
        wanted = own if len(runs) == 1 and epoch is None else [file for file in own[-1:] if epoch is None]
        wanted = [file for file in own if file[0] == epoch] if epoch is not None else wanted
        base = own[:1] if index == 0 and own[:1] != wanted[:1] else []
        name = "" if len(runs) == 1 else f"{one.record.label}, "
        files += [
            (f"{name}epoch {number}" if number else f"{name}before training", color_of_run(index), path)
            for number, path in [*base, *wanted][-MOST_ROWS:]
        ]
    grids = [(label, color, grid) for label, color, path in files if (grid := sound(path, read_grid)) is not None]
    if not grids:
        return Sheet([], [], False)
    prompts = grids[0][2][0].titles[:MOST_COLUMNS]
    rows = []
    for label, color, (grid, tiles) in grids:
        drawn = dict(zip(grid.titles, tiles, strict=True))
        pictures = [data_uri(drawn[prompt], SIDE) if prompt in drawn else None for prompt in prompts]
        rows.append(Row(label, color, pictures))
    return Sheet(prompts, rows, max(grids[0][2][0].tile) <= 96)
