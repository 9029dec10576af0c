"""Which curves a report draws, from the events of one run or of several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fdfo.evaluation.alarms import DIVERSITY_FLOOR, SHARPNESS_RANGE, VELOCITY_CEILING
from fdfo.evaluation.report.chart import Chart, Point, Reference, Series, draw
from fdfo.evaluation.report.decimals import Decimals
from fdfo.evaluation.report.record import RunRecord
from fdfo.evaluation.report.text import fixed, number, with_bounds, with_deviation

AxisName = Literal["epoch", "images", "time"]

BandName = Literal["paired", "level"]
"""What the band of a held-out curve is: the interval of the paired change since before training, or of the mean."""

COLOR_OF_ROLE = {"trained": 1, "part": 3, "unseen": 2}
NEUTRAL = 0

UPDATE_TITLES = {
    "ratio_change": ("Ratio change", "mean |log ratio| of the trained items"),
    "clip_fraction": ("Clip fraction", "share of items outside the trust region"),
    "gradient_norm": ("Gradient norm", "before clipping"),
    "learning_rate": ("Learning rate", "of an optimizer step"),
    "velocity_rms": ("Velocity RMS in training", ""),
    "velocity_distance": ("Velocity distance to the base", ""),
    "loss": ("Loss", "of the surrogate; its level has no meaning"),
}
NOT_CURVES = {"event", "epoch", "update", "skipped"}

RUN_COLORS = (1, 2, 4, 5, 6, 3, 7)
"""Those of the first runs differ most: 3 is a second blue, and 7 the ink."""

Maker = Callable[[RunRecord], list[Point]]


@dataclass(frozen=True)
class Curves:
    """The charts of a report over one x axis."""

    axis: AxisName
    primary: list[Chart]
    """Those of both bands, where there is a change to pair."""
    secondary: list[Chart]

    @property
    def bands(self) -> list[str]:
        """The bands that there are to choose from, the one shown first at first."""
        return list(dict.fromkeys(chart.band for chart in self.primary if chart.band))


class _Axis:
    """Where an epoch of a run lies on the x axis."""

    def __init__(self, name: AxisName, records: Sequence[RunRecord]):
        self.name = name
        longest = max((sum(_seconds(record).values()) for record in records), default=0.0)
        limits = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"))
        self.unit, unit = next(((size, text) for limit, size, text in limits if longest >= limit), (1.0, "s"))
        self.label = {"epoch": "epoch", "images": "images scored in training", "time": f"training time, {unit}"}[name]
        self.places = {record.folder: self._of(record) for record in records}

    def _of(self, record: RunRecord) -> dict[int, float]:
        if self.name == "epoch":
            return {}
        if self.name == "images":
            return {0: 0.0, **{event["epoch"]: float(event["total"]["images"]) for event in record.rollouts}}
        places, elapsed = {0: 0.0}, 0.0
        for epoch, seconds in _seconds(record).items():
            elapsed += seconds
            places[epoch] = elapsed / self.unit
        return places

    def __call__(self, record: RunRecord, epoch: int) -> float:
        return float(epoch) if self.name == "epoch" else self.places[record.folder].get(epoch, float("nan"))


def _seconds(record: RunRecord) -> dict[int, float]:
    """Seconds of each epoch, evaluation not counted."""
    return {event["epoch"]: sum(event["seconds"].values()) for event in record.rollouts}


def curves(records: Sequence[RunRecord], decimals: Decimals, axis: AxisName = "epoch") -> Curves:
    """All charts of the runs; each run is one line, and a single run's scores have the colour of their role."""
    place = _Axis(axis, records)
    labels = dict.fromkeys(score.label for record in records for score in record.scores)
    has_change = any(len(record.evaluations) > 1 for record in records)
    bands: tuple[BandName, ...] = ("paired", "level") if has_change else ("level",)
    primary = [_score_chart(records, label, place, decimals, band) for label in labels for band in bands]
    primary += [_diversity(records, place, decimals, band) for band in bands]
    formulas = dict.fromkeys(record.formula for record in records)
    primary += [_training_reward(records, formula, place, decimals.get(formula, 2)) for formula in formulas]
    secondary = [_velocity(records, place, decimals), _sharpness(records, place, decimals), _spread(records, place)]
    secondary += [_component(records, name, place) for name in _component_names(records)]
    secondary += [_update_chart(records, name, place) for name in _update_names(records)]
    return Curves(
        axis=axis,
        primary=[chart for chart in primary if chart is not None],
        secondary=[chart for chart in secondary if chart is not None],
    )


# ---- held-out prompts ----


def _score_chart(
    records: Sequence[RunRecord], label: str, place: _Axis, decimals: Decimals, band: BandName
) -> Chart | None:
    own = {record.folder: score for record in records for score in record.scores if score.label == label}

    def points(record: RunRecord) -> list[Point]:
        score = own.get(record.folder)
        return [] if score is None else _held_out(record, score.key, place, decimals[label], band)

    roles = list(dict.fromkeys(score.role for score in own.values()))
    starts = {found[0].y for record in records if (found := points(record))}
    return draw(
        f"Held-out {label}",
        _series(records, points, COLOR_OF_ROLE[roles[0]]),
        x_name=place.label,
        badge=roles[0] if len(roles) == 1 else "trained or unseen",
        references=[Reference(start, "before training") for start in starts if len(starts) == 1],
        band=band,
    )


def _held_out(record: RunRecord, key: str, place: _Axis, places: int, band: BandName) -> list[Point]:
    """The means of a score over the epochs, with the band that was asked for."""
    found = [past for past in record.evaluations if key in past.metrics]
    points = []
    for past in found:
        level = record.interval(past, key)
        x, name = place(record, past.epoch), f"epoch {past.epoch}"
        if band == "level":
            points.append(Point(x, level.mean, level.low, level.high, name, with_bounds(level, places)))
            continue
        gain = past.gain(found[0], key)
        low, high = (level.mean + bound - gain.mean for bound in (gain.low, gain.high))
        text = fixed(level.mean, places)
        change = f", {with_bounds(gain, places, signed=True)}" if past is not found[0] and gain.n else ""
        points.append(Point(x, level.mean, low, high, name, text + change))
    return points


def _diversity(records: Sequence[RunRecord], place: _Axis, decimals: Decimals, band: BandName) -> Chart | None:
    if "diversity" not in decimals:
        return None

    def points(record: RunRecord) -> list[Point]:
        return _held_out(record, "diversity", place, decimals["diversity"], band)

    measured = [past for record in records for past in record.evaluations[:1] if past.diversity is not None]
    starts = [records[0].interval(measured[0], "diversity").mean] if measured and len(records) == 1 else []
    return draw(
        "Diversity",
        _series(records, points, 4),
        x_name=place.label,
        badge="held-out",
        note="mean squared feature distance of the images of one prompt",
        references=[Reference(start, "before training") for start in starts]
        + [Reference(start * DIVERSITY_FLOOR, "alarm below") for start in starts],
        band=band,
    )


def _velocity(records: Sequence[RunRecord], place: _Axis, decimals: Decimals) -> Chart | None:
    note = "size of the predicted velocity along the samples"
    limits = {VELOCITY_CEILING: "alarm above"}
    return _signal(records, place, "velocity_rms", "Velocity RMS", note, limits, decimals)


def _sharpness(records: Sequence[RunRecord], place: _Axis, decimals: Decimals) -> Chart | None:
    low, high = SHARPNESS_RANGE
    limits = {low: "alarm below", high: "alarm above"}
    note = "contrast of the finest details of the images"
    return _signal(records, place, "sharpness", "Sharpness", note, limits, decimals)


def _signal(
    records: Sequence[RunRecord],
    place: _Axis,
    key: str,
    title: str,
    note: str,
    limits: Mapping[float, str],
    decimals: Decimals,
) -> Chart | None:
    """A signal of every image, with the limits of its alarm as multiples of its start where there is one run."""

    def points(record: RunRecord) -> list[Point]:
        intervals = [(past.epoch, past.interval(key)) for past in record.evaluations]
        return [
            Point(place(record, epoch), i.mean, i.low, i.high, f"epoch {epoch}", with_bounds(i, decimals[key]))
            for epoch, i in intervals
        ]

    starts = [record.evaluations[0].interval(key).mean for record in records if record.evaluations]
    shown = limits if len(records) == len(starts) == 1 else {}
    return draw(
        title,
        _series(records, points, NEUTRAL),
        x_name=place.label,
        badge="held-out",
        note=note,
        references=[Reference(starts[0] * factor, label) for factor, label in shown.items()],
    )


# ---- training ----


def _training_reward(records: Sequence[RunRecord], formula: str, place: _Axis, places: int) -> Chart | None:
    """The reward of the runs that train on this one; other rewards have other units."""

    def points(record: RunRecord) -> list[Point]:
        found = []
        for event in record.rollouts if record.formula == formula else []:
            mean, std = _number(event.get("reward")), _number(event.get("reward_std"))
            low, high = (mean - std, mean + std) if len(records) == 1 else (float("nan"), float("nan"))
            epoch = event["epoch"]
            found.append(
                Point(place(record, epoch), mean, low, high, f"epoch {epoch}", with_deviation(mean, std, places))
            )
        return found

    note = "of the epoch's training images" + ("; band: ± one standard deviation" if len(records) == 1 else "")
    chart_series = _series(records, points, 1)
    is_one = all(record.formula == formula for record in records)
    title = "Training reward" if is_one else f"Training reward: {formula}"
    return draw(title, chart_series, x_name=place.label, badge="training", note=note)


def _spread(records: Sequence[RunRecord], place: _Axis) -> Chart | None:
    note = "standard deviation of the reward within a pair or group: what there is to learn from"
    return _event_chart(records, "Spread within groups", note, place, "group_spread")


def _component_names(records: Sequence[RunRecord]) -> list[str]:
    found = [key for record in records if record.is_sum for event in record.rollouts for key in event]
    return list(dict.fromkeys(key for key in found if key.startswith("score/")))


def _component(records: Sequence[RunRecord], key: str, place: _Axis) -> Chart | None:
    return _event_chart(records, f"Training {key.removeprefix('score/')}", "part of the reward", place, key, False)


def _event_chart(
    records: Sequence[RunRecord], title: str, note: str, place: _Axis, key: str, from_zero: bool = True
) -> Chart | None:
    def points(record: RunRecord) -> list[Point]:
        return [
            _plain_point(place(record, event["epoch"]), event["epoch"], _number(event.get(key)))
            for event in record.rollouts
        ]

    series = _series(records, points, NEUTRAL)
    return draw(title, series, x_name=place.label, badge="training", note=note, from_zero=from_zero)


def _update_names(records: Sequence[RunRecord]) -> list[str]:
    found = {key for record in records for event in record.updates for key in event} - NOT_CURVES
    return sorted(found, key=lambda name: (list(UPDATE_TITLES).index(name) if name in UPDATE_TITLES else 99, name))


def _update_chart(records: Sequence[RunRecord], name: str, place: _Axis) -> Chart | None:
    def points(record: RunRecord) -> list[Point]:
        by_epoch: dict[int, list[float]] = {}
        for event in record.updates:
            by_epoch.setdefault(event["epoch"], []).append(_number(event.get(name)))
        means = {epoch: sum(values) / len(values) for epoch, values in by_epoch.items()}
        return [_plain_point(place(record, epoch), epoch, mean) for epoch, mean in means.items()]

    title, note = UPDATE_TITLES.get(name, (name.replace("_", " ").capitalize(), ""))
    series = _series(records, points, NEUTRAL)
    return draw(title, series, x_name=place.label, badge="training", note=note, from_zero=name != "loss")


# ---- points ----


def color_of_run(index: int) -> int:
    """Number of the colour and dash of one of several runs."""
    return RUN_COLORS[index % len(RUN_COLORS)]


def _series(records: Sequence[RunRecord], points: Maker, color: int) -> list[Series]:
    alone = len(records) == 1
    return [
        Series(record.label, color if alone else color_of_run(i), [p for p in points(record) if p.x == p.x])
        for i, record in enumerate(records)
    ]


def _plain_point(x: float, epoch: int, value: float) -> Point:
    return Point(x, value, float("nan"), float("nan"), f"epoch {epoch}", number(value))


def _number(value: Any) -> float:
    """A logged number; null is NaN."""
    return float("nan") if value is None else float(value)
