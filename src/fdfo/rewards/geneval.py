"""GenEval's checks of detected objects (arXiv:2310.11513; evaluation/evaluate_images.py of djghosh13/geneval).

Departures:

1. Beside GenEval's verdict, right or wrong, there is a score between: the share of an image's checks that passed. An
   object's number, the colours, and the place are a check each, and every excluded number is one. It is 1 where the
   verdict is right, and only there.

Boxes are (left, top, right, bottom) in pixels, x to the right and y downwards.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
MOST_OBJECTS = 16
"""Objects of a class that are looked at, the surest ones."""
_OVERLAP = 0.1
"""Share of both sizes that an offset must exceed to count."""

Box = tuple[float, float, float, float]
Namer = Callable[[Sequence[Box], str], list[str]]
"""Boxes and the class in them -> the colour of each."""


@dataclass(frozen=True)
class Detection:
    """One object that was found."""

    name: str
    confidence: float
    box: Box


def by_class(detections: Sequence[Detection], threshold: float) -> dict[str, list[Box]]:
    """Boxes of each class above the threshold, the surest first."""
    found: dict[str, list[Box]] = {}
    for detection in sorted(detections, key=lambda d: -d.confidence):
        boxes = found.setdefault(detection.name, [])
        if detection.confidence > threshold and len(boxes) < MOST_OBJECTS:
            boxes.append(detection.box)
    return found


def checks(found: Mapping[str, Sequence[Box]], metadata: Mapping[str, Any], colors: Namer) -> list[bool]:
    """Every check that GenEval's metadata of a prompt asks for, passed or not.

    Raises KeyError, TypeError or ValueError for metadata of another form.
    """
    matched: list[Sequence[Box] | None] = []
    passed: list[bool] = []
    for wish in metadata.get("include", []):
        boxes = found.get(wish["class"], [])[: wish["count"]]
        results = list(_wish_checks(boxes, wish, matched, colors))
        matched.append(boxes if all(results) else None)
        passed += results
    for wish in metadata.get("exclude", []):
        passed.append(len(found.get(wish["class"], [])) < wish["count"])
    return passed


def _wish_checks(
    boxes: Sequence[Box], wish: Mapping[str, Any], matched: Sequence[Sequence[Box] | None], colors: Namer
) -> Iterator[bool]:
    """Number, colour and place of one wish; without the number, the others fail as well."""
    enough = len(boxes) >= wish["count"]
    yield enough
    right = enough
    if "color" in wish:
        right = enough and colors(boxes, wish["class"]).count(wish["color"]) >= wish["count"]
        yield right
    if "position" in wish:
        relation, target = wish["position"]
        others = matched[target]
        yield right and others is not None and all(relation in relations(a, b) for a in boxes for b in others)


def relations(a: Box, b: Box) -> set[str]:
    """Where the first box lies, seen from the second; nothing where they overlap too much to say."""
    corners = np.array([a, b]).reshape(2, 2, 2)
    centers, sizes = corners.mean(1), np.abs(corners[:, 1] - corners[:, 0])
    offset = centers[0] - centers[1]
    clear = np.maximum(np.abs(offset) - _OVERLAP * sizes.sum(0), 0) * np.sign(offset)
    if np.all(np.abs(clear) < 1e-3):
        return set()
    dx, dy = clear / np.linalg.norm(offset)
    words = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return {word for word, holds in words.items() if holds}
