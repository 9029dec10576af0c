"""Pictures on disk: PNG grids of equal tiles, each with a JSON file that says what its tiles are."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

from fdfo.evaluation.runs import EPOCH
from fdfo.files import write_atomically, write_json
from fdfo.own import numbered_name, read_json
from fdfo.pictures import COLUMNS, png, tile

GRIDS = (EPOCH, "pairs")
"""Kinds of numbered grids: of the held-out prompts, and of groups that were trained on."""


@dataclass(frozen=True)
class Grid:
    """What the tiles of a grid show, row by row; no gap between tiles."""

    epoch: int
    columns: int
    tile: tuple[int, int]
    """Height and width of a tile in pixels."""
    titles: list[str]
    """Prompt of every tile (of every row, where `scores` is given)."""
    scores: Sequence[Sequence[float | None]] | None = None
    """Scores of the tiles of every row."""


def save_gallery(folder: Path, epoch: int, images: Tensor, titles: Sequence[str]) -> None:
    """Write samples/epoch-N.png and .json: one tile uint8 [n, 3, H, W] for each title."""
    grid = Grid(epoch, COLUMNS, (images.shape[2], images.shape[3]), list(titles))
    _save(folder / numbered_name(EPOCH, epoch), tile(images, COLUMNS), grid)


def save_groups(folder: Path, epoch: int, groups: Tensor, totals: Tensor, titles: Sequence[str]) -> None:
    """Write samples/pairs-N.png and .json: a row of tiles for each group uint8 [n, N, 3, H, W], with its scores.

    totals are the scores of all samples in order, titles the prompts of the groups in order; both may be longer.
    """
    count, size = groups.shape[:2]
    scores = totals.reshape(-1, size)[:count].tolist()
    grid = Grid(epoch, size, (groups.shape[3], groups.shape[4]), list(titles[:count]), scores)
    _save(folder / numbered_name("pairs", epoch), tile(groups.flatten(0, 1), size), grid)


def _save(path: Path, pixels: np.ndarray, grid: Grid) -> None:
    write_atomically(path.with_suffix(".png"), png(pixels))
    write_json(path.with_suffix(".json"), asdict(grid))


def read_grid(path: Path) -> tuple[Grid, list[Image.Image]]:
    """The description and the tiles, row by row, of a grid's PNG file.

    Raises what its libraries raise where one of the files is damaged, and ValueError where they do not fit each other.
    """
    grid = TypeAdapter(Grid).validate_python(read_json(path.with_suffix(".json")))
    height, width = grid.tile
    count = len(grid.titles) * (grid.columns if grid.scores is not None else 1)
    rows = -(-count // grid.columns)
    if grid.scores is not None and [len(row) for row in grid.scores] != [grid.columns] * len(grid.titles):
        raise ValueError("its scores are not those of its tiles")
    with Image.open(path) as picture:
        if picture.size != (grid.columns * width, rows * height):
            raise ValueError(f"it has {picture.width} x {picture.height} pixels")
        corners = [(i // grid.columns * height, i % grid.columns * width) for i in range(count)]
        return grid, [picture.crop((left, top, left + width, top + height)) for top, left in corners]


def check_picture(path: Path) -> bool:
    """True for a PNG file that is whole. Raises what its library raises for another."""
    with Image.open(path) as picture:
        picture.verify()
    return True


def picture_files(folder: Path) -> list[Path]:
    """The files `NUMBER-IMAGE.png` of a folder, in order, and nothing else."""
    names = re.compile(r"[0-9]{5,}-[0-9]+\.png")
    return sorted(path for path in (folder.iterdir() if folder.is_dir() else ()) if names.fullmatch(path.name))
