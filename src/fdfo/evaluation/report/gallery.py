"""Pictures for the page: the gallery of fixed prompts over the epochs, and the groups compared in training."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import Grid, read_grid
from fdfo.evaluation.report.record import RunRecord
from fdfo.evaluation.report.text import NONE, fixed, places_of_spread
from fdfo.own import numbered, sound

MAX_SIDE = 256
"""Larger tiles are scaled down."""

LOSSLESS_SIDE = 96
"""Tiles up to this size stay as they are and are shown with visible pixels; larger ones become JPEG."""

JPEG_QUALITY = 82

MAX_PIXELS = 8 * 24 * MAX_SIDE**2
"""Of all gallery tiles of a page: 8 epochs of 24 large tiles, about 4 MB; the pairs get a quarter of it."""

MAX_EPOCHS = 25
"""Epochs shown of one gallery."""

MAX_PAIR_EPOCHS = 6

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
    values: dict[str, list[str]]
    """Scores of the tiles, as text, by label of the score."""


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
    score_labels: list[str]
    num_left_out: int
    """Saved epochs that the page has no room for."""
    other_prompts: list[str]
    """Runs that were judged on other prompts, which are not shown."""

    @property
    def loads(self) -> list[dict[str, object]]:
        """What the page's script needs; the tiles of the two snapshots shown first are in the page already."""
        shown = (self.left, self.right)
        return [
            {"label": one.label, "tiles": [] if i in shown else one.tiles, "values": one.values}
            for i, one in enumerate(self.snapshots)
        ]


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


def gallery(records: Sequence[RunRecord]) -> Gallery | None:
    """Snapshots of the first run that has any, and of the runs on the same held-out list; None where none has."""
    files = _from_first_sound([file for record in records for file in _files(record, "epoch")])
    if not files:
        return None
    first, _ = read_grid(files[0][2])
    room = _room(first, len(first.titles), MAX_PIXELS, MAX_EPOCHS)
    chosen = []
    for record in records:
        own = [file for file in files if file[0] is record]
        must = {0, record.best_epoch, own[-1][1]} if own else set()
        chosen += _spread_over(own, max(2, room // len(records)), must)
    snapshots, others = [], []
    for record, epoch, path in chosen:
        read = sound(path, read_grid, record.complain)
        if read is None:
            continue
        grid, tiles = read
        # A prompt's noise depends on its place in the list: the same titles of another list are other pictures.
        same_list = record.evaluations[0].prompts == files[0][0].evaluations[0].prompts
        if same_list and (grid.titles, grid.tile) == (first.titles, first.tile):
            snapshots.append(_snapshot(record, epoch, grid, tiles, alone=len(records) == 1))
        elif record.label not in others:
            others.append(record.label)
    labels = list(dict.fromkeys(label for one in snapshots for label in one.values))
    return Gallery(
        titles=first.titles,
        snapshots=snapshots,
        left=_left(snapshots),
        right=len(snapshots) - 1,
        is_pixelated=max(first.tile) <= LOSSLESS_SIDE,
        aspect=f"{first.tile[1]} / {first.tile[0]}",
        score_labels=labels,
        num_left_out=len(files) - len(chosen),
        other_prompts=others,
    )


def groups(record: RunRecord) -> list[GroupEpoch]:
    """The groups of the saved epochs, latest first."""
    files = _from_first_sound(_files(record, "pairs")[::-1])[::-1]
    if not files:
        return []
    grid, _ = read_grid(files[-1][2])
    room = _room(grid, len(grid.titles) * grid.columns, MAX_PIXELS // 4, MAX_PAIR_EPOCHS)
    chosen = _spread_over(files, room, {files[-1][1]})
    found = [sound(path, read_grid, record.complain) for _, _, path in reversed(chosen)]
    return [_group_epoch(*read) for read in found if read is not None]


def data_uri(image: Image.Image) -> str:
    """A picture as text, small ones without loss, large ones as JPEG of at most `MAX_SIDE` pixels a side."""
    buffer = io.BytesIO()
    image = image.convert("RGB")
    if max(image.size) <= LOSSLESS_SIDE:
        image.save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    image.thumbnail((MAX_SIDE, MAX_SIDE), reducing_gap=1.0)  # whole factors by averaging: four times faster
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


# ---- which epochs ----


def _files(record: RunRecord, kind: str) -> list[File]:
    """PNG files of a kind; those that belong to no event of the run are left-overs of an interruption."""
    known = {past.epoch for past in record.evaluations} if kind == "epoch" else {e["epoch"] for e in record.rollouts}
    described = numbered(record.folder / "samples", kind, ".json")
    found = [(record, epoch, path.with_suffix(".png")) for epoch, path in described.items() if epoch in known]
    return [file for file in found if file[2].is_file()]


def _from_first_sound(files: list[File]) -> list[File]:
    """The same files without damaged ones at the beginning."""
    while files and sound(files[0][2], read_grid, files[0][0].complain) is None:
        files = files[1:]
    return files


def _room(grid: Grid, tiles: int, pixels: int, most: int) -> int:
    """Epochs of so many tiles that fit into so many pixels."""
    shrink = min(1.0, MAX_SIDE / max(grid.tile))
    area = grid.tile[0] * grid.tile[1] * shrink**2
    return min(most, max(1, int(pixels / max(1.0, tiles * area))))


def _spread_over(files: list[File], room: int, must: set[int | None]) -> list[File]:
    """At most about `room` files: those that must be there, and the others evenly spread."""
    if len(files) <= room:
        return files
    step = (len(files) - 1) / max(1, room - 1)
    kept = {round(i * step) for i in range(room)} if room > 1 else set()
    return [file for i, file in enumerate(files) if i in kept or file[1] in must]


def _left(snapshots: Sequence[Snapshot]) -> int:
    """What is shown beside the last snapshot: the first of its run, or the latest of the first of several runs."""
    runs = [one.run for one in snapshots]
    return 0 if runs[0] == runs[-1] else max(i for i, run in enumerate(runs) if run == runs[0])


# ---- views ----


def _snapshot(record: RunRecord, epoch: int, grid: Grid, tiles: Sequence[Image.Image], alone: bool) -> Snapshot:
    marks = ["before training"] if epoch == 0 else []
    marks += ["best"] if epoch == record.best_epoch and epoch > 0 else []
    marks += ["latest"] if epoch == record.evaluations[-1].epoch and epoch > 0 else []
    label = f"epoch {epoch}" + (f" ({', '.join(marks)})" if marks else "")
    evaluation = next(past for past in record.evaluations if past.epoch == epoch)
    rows = _rows(evaluation, grid.titles)
    values = {}
    for score in record.scores if rows else []:
        found = evaluation.scores[score.key]
        places = places_of_spread(record.evaluations[0].scores[score.key])  # the same for all epochs
        values[score.label] = [fixed(found[row], places) for row in rows]
    name = label if alone else f"{record.label}, {label}"
    return Snapshot(record.label, epoch, name, [data_uri(tile) for tile in tiles], values)


def _rows(evaluation: Evaluation, titles: Sequence[str]) -> list[int]:
    """Row of the scores of every tile: the first image of each of the prompts, which are evenly spread over the list.

    Empty where the titles are other ones.
    """
    count = len(evaluation.prompts)
    places = [i * count // len(titles) for i in range(len(titles))]
    fits = [evaluation.prompts[place] for place in places] == list(titles)
    return [place * evaluation.images_per_prompt for place in places] if fits else []


def _group_epoch(grid: Grid, tiles: Sequence[Image.Image]) -> GroupEpoch:
    assert grid.scores is not None
    size = grid.columns
    places = places_of_spread(float("nan") if score is None else score for row in grid.scores for score in row)
    found = [
        _group(title, scores, tiles[i * size : (i + 1) * size], places)
        for i, (title, scores) in enumerate(zip(grid.titles, grid.scores, strict=True))
    ]
    return GroupEpoch(grid.epoch, found, max(grid.tile) <= LOSSLESS_SIDE, f"{grid.tile[1]} / {grid.tile[0]}")


def _group(title: str, scores: Sequence[float | None], tiles: Sequence[Image.Image], places: int) -> Group:
    values = [float("nan") if score is None else score for score in scores]
    failed = [not math.isfinite(value) for value in values]
    best, worst = (float("nan"),) * 2 if any(failed) else (max(values), min(values))
    if best > worst:
        places = max(places, places_of_spread((best, worst)) - 1)  # a small difference is still seen
    samples = []
    for value, is_failed, tile in zip(values, failed, tiles, strict=True):
        place = "failed" if is_failed else "tie" if best == worst else "better" if value == best else "other"
        samples.append(Sample(data_uri(tile), NONE if is_failed else fixed(value, places), place))
    if any(failed):
        outcome = "not used: a score failed"
    elif len(values) < 2:
        outcome = "compared with the mean of its batch"
    elif best == worst:
        outcome = "a tie: nothing to learn from"
    else:
        outcome = f"{'difference' if len(values) == 2 else 'spread'} {fixed(best - worst, places)}"
    return Group(title, samples, outcome)
