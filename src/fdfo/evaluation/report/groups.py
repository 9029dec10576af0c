"""The groups of images that were compared with each other in training, for the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from fdfo.evaluation.pictures import Grid, read_grid
from fdfo.evaluation.report.decimals import Decimals
from fdfo.evaluation.report.gallery import (
    LOSSLESS_SIDE,
    MAX_PIXELS,
    MAX_SIDE,
    data_uri,
    files_of,
    from_first_sound,
    full_side,
    room_for,
    spread_over,
)
from fdfo.evaluation.report.record import RunRecord
from fdfo.evaluation.report.text import NONE, fixed
from fdfo.own import sound

MAX_PAIR_EPOCHS = 6


@dataclass(frozen=True)
class Sample:
    """One image of a group."""

    tile: str
    score: str
    place: Literal["better", "other", "tie", "failed"]


@dataclass(frozen=True)
class Group:
    """Images that were compared with each other."""

    title: str
    samples: list[Sample]
    outcome: str


@dataclass(frozen=True)
class GroupEpoch:
    """The groups kept of one epoch."""

    epoch: int
    groups: list[Group]
    is_pixelated: bool
    aspect: str


def groups(record: RunRecord, decimals: Decimals) -> list[GroupEpoch]:
    """The groups of the saved epochs, latest first."""
    files = [(record, epoch, path) for epoch, path in files_of(record, "pairs")]
    files = from_first_sound(files[::-1])[::-1]
    if not files:
        return []
    grid, _ = read_grid(files[-1][2])
    room = room_for(grid, len(grid.titles) * grid.columns, MAX_PIXELS // 4, MAX_PAIR_EPOCHS)
    chosen = spread_over(files, room, {files[-1][1]})
    side = full_side(grid.tile, len(grid.titles) * grid.columns)
    places = decimals.get(record.formula, 2)
    found = [sound(path, read_grid, record.complain) for _, _, path in reversed(chosen)]
    read = [one for one in found if one is not None]
    return [_group_epoch(*one, places=places, side=MAX_SIDE if i else side) for i, one in enumerate(read)]


def _group_epoch(grid: Grid, tiles: Sequence[Image.Image], *, places: int, side: int) -> GroupEpoch:
    assert grid.scores is not None
    size = grid.columns
    sources = [data_uri(tile, side) for tile in tiles]
    found = [
        _group(title, scores, sources[i * size : (i + 1) * size], places)
        for i, (title, scores) in enumerate(zip(grid.titles, grid.scores, strict=True))
    ]
    return GroupEpoch(grid.epoch, found, max(grid.tile) <= LOSSLESS_SIDE, f"{grid.tile[1]} / {grid.tile[0]}")


def _group(title: str, scores: Sequence[float | None], sources: Sequence[str], places: int) -> Group:
    values = [float("nan") if score is None else score for score in scores]
    failed = [not math.isfinite(value) for value in values]
    best, worst = (float("nan"),) * 2 if any(failed) else (max(values), min(values))
    samples = []
    for value, is_failed, source in zip(values, failed, sources, strict=True):
        place = "failed" if is_failed else "tie" if best == worst else "better" if value == best else "other"
        samples.append(Sample(source, NONE if is_failed else fixed(value, places), place))
    if any(failed):
        outcome = "not used: a score failed"
    elif len(values) < 2:
        outcome = "compared with the mean of its batch"
    elif best == worst:
        outcome = "a tie: nothing to learn from"
    else:
        least = 10.0**-places
        size = fixed(best - worst, places) if best - worst >= least / 2 else f"below {fixed(least, places)}"
        outcome = f"{'difference' if len(values) == 2 else 'spread'} {size}"
    return Group(title, samples, outcome)
