"""Curves of a comparison: charts for the page, and the first of them as one picture for Markdown."""

import re
from collections.abc import Iterator, Sequence
from html import escape

from fdfo import look
from fdfo.comparison.curves import AXES, Curves, Mark, until
from fdfo.comparison.effects import level_at_points
from fdfo.comparison.outcomes import guided_results
from fdfo.comparison.plan import TRAINING_SCORE, Axis, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.tables import metric_name, told
from fdfo.evaluation.report.chart import Chart, Point, Series, draw
from fdfo.evaluation.report.curves import RUN_COLORS, color_of_run
from fdfo.evaluation.report.text import number

GUIDED = "base, under guidance"

WIDTH, HEIGHT, MARGIN_X, MARGIN_Y = 420, 250, 70, 56
"""Size of a panel, and the margins around it, in pixels."""

COLUMNS = 2
LINE_HEIGHT = 16


def charts(plan: Plan, results: Sequence[Result], axis: Axis) -> list[Chart]:
    """Every metric against a cost: the training score first, by training score and group of cells."""
    found = [
        _against_cost(plan, results, score, group, metric, axis)
        for score in plan.scores
        for metric in plan.metrics(score)
        for group in _groups(plan)
    ]
    return [one for one in found if one is not None]


def quality_charts(plan: Plan, results: Sequence[Result]) -> list[Chart]:
    """What is not trained on against the training score, with the untrained model under guidance beside."""
    found = [
        _against_score(plan, results, score, group, metric)
        for score in plan.scores
        for metric in plan.metrics(score)[1:]
        for group in _groups(plan)
    ]
    return [one for one in found if one is not None]


def _groups(plan: Plan) -> list[str]:
    others = [cell.group for name, cell in plan.cells.items() if name != plan.reference_cell]
    return list(dict.fromkeys(others)) or [""]


def _shown(plan: Plan, score: str, group: str) -> list[str]:
    """Cells of a group, the reference first."""
    own = [name for name in plan.cells_on(score) if plan.cells[name].group == group and name != plan.reference_cell]
    return [*([plan.reference_cell] if plan.reference_cell in plan.cells_on(score) else []), *own]


def _title(plan: Plan, metric: str, score: str, group: str) -> str:
    return f"{metric_name(metric).capitalize()}, trained on {score}" + (f": {group}" if group else "")


def _against_cost(
    plan: Plan, results: Sequence[Result], score: str, group: str, metric: str, axis: Axis
) -> Chart | None:
    mark: Mark = "steps" if axis == "steps" else "evaluations"
    series = []
    for index, cell in enumerate(_shown(plan, score, group)):
        own = until(sound(results, "final", score, cell), mark)
        if own:
            across = Curves(own).costs(axis).mean(0)
            names = [f"{number(x, 3)} {'s' if axis == 'seconds' else axis}" for x in across]
            series.append(Series(cell, color_of_run(index), _points(own, metric, list(across), names)))
    badge = "trained" if metric == TRAINING_SCORE else "unseen" if metric not in ("diversity", "sharpness") else ""
    return draw(_title(plan, metric, score, group), series, x_name=AXES[axis], badge=badge)


def _points(own: Sequence[Result], metric: str, across: Sequence[float], names: Sequence[str]) -> list[Point]:
    """The mean curve of runs with the same points, with intervals over seeds and prompts."""
    found = []
    for x, name, y in zip(across, names, level_at_points(own, metric), strict=True):
        low, high = (y.low, y.high) if y.has_interval else (float("nan"), float("nan"))
        found.append(Point(x, y.value, low, high, name, told(y)))
    return found


def _against_score(plan: Plan, results: Sequence[Result], score: str, group: str, metric: str) -> Chart | None:
    series = []
    for index, cell in enumerate(_shown(plan, score, group)):
        own = until(sound(results, "final", score, cell), "evaluations")
        if own:
            scores, values = (Curves(own).means(name).mean(0) for name in (TRAINING_SCORE, metric))
            points = list(zip(scores, values, strict=True))
            series.append(Series(cell, color_of_run(index), [_place(x, y) for x, y in points]))
    guided = [one.curve[0].values for one in guided_results(plan, results, score)]
    if guided:
        series.append(Series(GUIDED, 0, [_place(values[TRAINING_SCORE], values[metric]) for values in guided]))
    return draw(_title(plan, metric, score, group), series, x_name="training score")


def _place(x: float, y: float) -> Point:
    return Point(x, y, float("nan"), float("nan"), f"training score {number(x, 3)}", number(y, 3))


# ---- a picture ----


def picture(panels: Sequence[Chart]) -> str:
    """Charts in one SVG file that stands alone, on white."""
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    body, y = [], 0
    for row in rows:
        legend = max(len(chart.lines) for chart in row) * LINE_HEIGHT
        for column, chart in enumerate(row):
            body += _panel(chart, column * (WIDTH + 2 * MARGIN_X), y)
        y += HEIGHT + 2 * MARGIN_Y + legend
    size = f'width="{COLUMNS * (WIDTH + 2 * MARGIN_X)}" height="{y}"'
    style = 'font-family="sans-serif" font-size="12"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', ground, *body, "</svg>", ""])


def _palette() -> dict[int, str]:
    """Colours of the pages, on a light ground."""
    found = re.findall(r"--s(\d): (#[0-9a-f]+)", look.source("base.css"))
    return {int(index): color for index, color in found[: len(RUN_COLORS) + 1]}


def _panel(chart: Chart, left: float, top: float) -> Iterator[str]:
    """One chart with its title, ticks and legend."""
    colors, x0, y0 = _palette(), left + MARGIN_X, top + MARGIN_Y
    yield _text(x0, y0 - 16, chart.title, "start", 'font-weight="bold"')
    for percent, label in chart.y_ticks:
        y = y0 + HEIGHT * percent / 100
        yield f'<path d="M{x0:g} {y:g}h{WIDTH}" stroke="#ddd"/>'
        yield _text(x0 - 8, y + 4, label, "end")
    for percent, label in chart.x_ticks:
        yield _text(x0 + WIDTH * percent / 100, y0 + HEIGHT + 18, label, "middle")
    yield _text(x0 + WIDTH / 2, y0 + HEIGHT + 36, chart.x_name, "middle")
    scale = f'transform="translate({x0:g} {y0:g}) scale({WIDTH / 100:g} {HEIGHT / 100:g})"'
    for index, line in enumerate(chart.lines):
        color = colors[line.color]
        drawn = f'fill="none" stroke="{color}" vector-effect="non-scaling-stroke" stroke-linecap="round"'
        yield f"<g {scale}>"
        if line.band:
            yield f'<path d="{line.band}" fill="{color}" fill-opacity=".13"/>'
        for path, width in ((line.whiskers, 1.5), (line.path, 2), (line.dots, 5)):
            if path:
                yield f'<path d="{path}" {drawn} stroke-width="{width}"/>'
        yield "</g>"
        y = y0 + HEIGHT + 54 + LINE_HEIGHT * index
        yield f'<path d="M{x0:g} {y - 4:g}h22" stroke="{color}" stroke-width="3"/>'
        yield _text(x0 + 30, y, f"{line.label}: {line.last[2]} at {line.last[1]}", "start")


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
