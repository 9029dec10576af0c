"""The figures of docs/method.md, from the functions that a run uses: `python -m docs.hooks.figures` writes docs/images.

The flow in them is exact: one number, whose data are two narrow Gaussians at -1 and 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.perturb import perturbed_step, renoise_start
from fdfo.objectives.surrogate import bounded_spo, spo

IMAGES = Path(__file__).parents[1] / "images"
FIRST, SECOND, GREY = "#5c6bc0", "#ef6c00", "#888888"  # legible on light and on dark
WIDTH, HEIGHT, MARGIN = 240, 180, 34
SPREAD = 0.15
"""Standard deviation of the data around -1 and 1."""


@dataclass(frozen=True)
class Panel:
    """A plot with its own ranges, beside others; parts are elements of an SVG."""

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    labels: tuple[str, str]
    lines: Sequence[tuple[str, Sequence[tuple[float, float]], str]]
    """Colour, points and dashes of each line."""

    def svg(self, number: int) -> str:
        left, top = number * WIDTH + MARGIN, MARGIN
        width, height = WIDTH - MARGIN - 12, HEIGHT - 2 * MARGIN

        def place(point: tuple[float, float]) -> str:
            x, y = ((v - low) / (high - low) for v, (low, high) in zip(point, (self.x, self.y), strict=True))
            return f"{left + width * x:.1f},{top + height * (1 - y):.1f}"

        drawn = [
            f'<polyline points="{" ".join(map(place, points))}" stroke="{colour}" stroke-dasharray="{dashes}"/>'
            for colour, points, dashes in self.lines
        ]
        words = [
            (left + width / 2, top - 12, self.title, 12),
            (left + width / 2, top + height + 24, self.labels[0], 11),
            (left - 14, top + height / 2, self.labels[1], 11),
        ]
        texts = [f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}">{text}</text>' for x, y, text, size in words]
        frame = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" stroke="{GREY}" stroke-width="0.7"/>'
        return "\n".join([frame, *drawn, *texts])


def velocity(x: Tensor, t: float) -> Tensor:
    """Exact v = E[eps - x0 | x_t = x] for x0 around -1 and 1, and x_t = (1 - t) x0 + t eps."""
    kept, variance = 1 - t, (1 - t) ** 2 * SPREAD**2 + t**2
    means = torch.tensor([-1.0, 1.0], dtype=x.dtype)
    off = x[..., None] - kept * means
    weights = (-off.square() / (2 * variance)).softmax(-1)
    clean = means + kept * SPREAD**2 / variance * off  # E[x0 | x, which Gaussian]
    noise = t / variance * off
    return ((noise - clean) * weights).sum(-1)


def trajectories(strength: float, pairs: int, steps: int = 40) -> tuple[list[float], Tensor]:
    """Times [T + 1] and states [T + 1, pairs, 2] of branches that share their start."""
    noise, grid = NoiseStreams(4), torch.linspace(1, 0, steps + 1).tolist()

    def drawn(use: str, step: int = 0) -> Tensor:
        return noise.normal((2,), use, range(pairs), step).double()

    x = renoise_start(drawn("start")[:, :1].expand(-1, 2), strength, drawn("perturb"))
    states = [x]
    for step, (t, s) in enumerate(pairwise(grid)):
        x = perturbed_step(x, velocity(x, t), t, s, strength, drawn("perturb", step + 1))
        states.append(x)
    return grid, torch.stack(states)


def flow_panel(title: str, strength: float, pairs: int) -> Panel:
    """Pairs on their way from noise (left) to data (right)."""
    times, states = trajectories(strength, pairs)
    lines = [
        (colour, [(1 - t, float(x.clamp(-2, 2))) for t, x in zip(times, states[:, pair, branch], strict=True)], "none")
        for pair in range(pairs)
        for branch, colour in enumerate((FIRST, SECOND))
    ]
    return Panel(title, (0, 1), (-2, 2), ("noise → image", "x"), lines)


def loss_panel(title: str, slope: float, clip_range: float = 0.03) -> Panel:
    """The loss of a row over the ratio, as published (dashed) and as bounded."""
    ratios = torch.linspace(0.8, 1.2, 81, dtype=torch.float64)
    logs, slopes = ratios.log(), torch.full_like(ratios, slope)
    reach = torch.full_like(ratios, 0.5)
    published, bounded = spo(logs, slopes, clip_range), bounded_spo(logs, slopes, reach, clip_range)
    best = 1 + clip_range * (1 if slope > 0 else -1)
    height = (-1.2, 0.1) if slope > 0 else (0.8, 2.1)

    def points(losses: Tensor) -> list[tuple[float, float]]:
        return [(float(x), min(float(y), height[1])) for x, y in zip(ratios, losses, strict=True)]

    lines = [
        (GREY, [(best, height[0]), (best, height[1])], "2"),
        (FIRST, points(published), "5"),
        (SECOND, points(bounded), "none"),
    ]
    return Panel(title, (0.8, 1.2), height, ("ratio", "loss"), lines)


def picture(panels: Sequence[Panel]) -> str:
    """An SVG of panels side by side."""
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}"'
    style = 'fill="none" stroke-width="1.4" font-family="sans-serif" text-anchor="middle"'
    body = "\n".join(panel.svg(number) for number, panel in enumerate(panels))
    body = body.replace("<text ", f'<text fill="{GREY}" ')
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


FIGURES: dict[str, Callable[[], str]] = {
    "pair.svg": lambda: picture([flow_panel("one pair", 0.02, 1), flow_panel("four pairs", 0.02, 4)]),
    "strength.svg": lambda: picture([flow_panel(f"strength {g:g}", g, 4) for g in (0.0025, 0.02, 0.3)]),
    "trust-region.svg": lambda: picture([loss_panel("better image", 1.0), loss_panel("worse image", -1.0)]),
}


def main() -> None:
    for name, make in FIGURES.items():
        (IMAGES / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
