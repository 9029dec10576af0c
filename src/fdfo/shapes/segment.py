"""Finding and describing the objects in a picture of the shapes world (numpy, scipy).

H = W = 32 m: a picture [3, H, W] float32 RGB in [0, 1], any finite values, is looked at with one pixel a unit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fdfo.shapes.render import AREA_PER_SQUARED_RADIUS, Array, coverage, pixel_centres, reduced
from fdfo.shapes.scene import BACKGROUND, COLORS, IMAGE_SIZE, SHAPES

MIN_PIXELS = 8
"""Smaller spots are no objects; they count as residue."""
MAX_DESCRIBED = 8
"""Objects described at most, the largest ones; all are counted."""
_FOREGROUND = 0.5
_RESIDUE = 0.3
COLOR_FULL, COLOR_ZERO = 0.13, 0.24
"""RGB distance of a pixel to a named colour up to which it has that colour, and from which on it does not.

Half way between the two closest names (orange and yellow) the distance is 0.19, which does not pass."""
_FEWEST_CORE_PIXELS = 4

_PALETTE = np.array(list(COLORS.values()), np.float32)  # [8, 3]
_STEPS = _PALETTE - np.array(BACKGROUND, np.float32)  # [8, 3] from the background to each colour
_PROJECTION = _STEPS / (_STEPS**2).sum(1, keepdims=True)
_AXIS = pixel_centres(1)
_AROUND = np.ones((3, 3), bool)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One object as it appears: centre and radius in pixels, and how well every shape and colour fits, in [0, 1]."""

    x: float
    y: float
    radius: dict[str, float]
    """By shape: the radius of the shape of equal area."""
    overlap: dict[str, float]
    """By shape: intersection over union with that shape."""
    color: dict[str, float]
    """By colour: share of the inner pixels that have it."""

    @property
    def shape_name(self) -> str:
        """The best fitting shape."""
        return max(self.overlap, key=lambda name: self.overlap[name])

    @property
    def color_name(self) -> str:
        """The best fitting colour."""
        return max(self.color, key=lambda name: self.color[name])


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """The largest objects of a picture, the number of all, and the area outside them that is not background."""

    objects: tuple[Found, ...]
    count: int
    residue: float
    """In pixels, weighted by how bright they are."""


def segment(image: Array) -> Segmentation:
    """The objects of a finite picture [3, H, W]."""
    image = np.clip(reduced(image), 0, 1)
    offset = image - np.array(BACKGROUND, np.float32)[:, None, None]
    strength = (_PROJECTION @ offset.reshape(3, -1)).max(0).reshape(IMAGE_SIZE, IMAGE_SIZE)
    labelled: Any = ndimage.label(strength > _FOREGROUND)
    labels: NDArray[np.int32] = labelled[0]
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    numbers = [int(n) for n in np.argsort(-sizes, kind="stable") if sizes[n] >= MIN_PIXELS]
    reached = _dilate(np.isin(labels, numbers))
    outside = strength[~reached]
    return Segmentation(
        objects=tuple(_describe(image, offset, labels, number) for number in numbers[:MAX_DESCRIBED]),
        count=len(numbers),
        residue=float(outside[outside > _RESIDUE].clip(0, 1).sum()),
    )


def _describe(image: Array, offset: Array, labels: NDArray[np.int32], number: int) -> Found:
    mask = labels == number
    region = _dilate(mask) & ((labels == 0) | mask)
    inner = np.asarray(ndimage.binary_erosion(mask), bool)
    core = inner if inner.sum() >= _FEWEST_CORE_PIXELS else mask
    step = offset[:, core].mean(1)  # [3] from the background to the object's own mean colour
    share = np.tensordot(step, offset, 1) / max(float(step @ step), 1e-6)
    share = np.where(region, np.clip(share, 0, 1), 0).astype(np.float32)
    area = max(float(share.sum()), 1e-6)
    x, y = float(share.sum(0) @ _AXIS) / area, float(share.sum(1) @ _AXIS) / area
    radius = {name: (area / AREA_PER_SQUARED_RADIUS[name]) ** 0.5 for name in SHAPES}
    templates = {name: coverage(name, x, y, radius[name]) for name in SHAPES}
    overlap = {
        name: float(np.minimum(share, template).sum() / max(float(np.maximum(share, template).sum()), 1e-6))
        for name, template in templates.items()
    }
    best = templates[max(overlap, key=lambda name: overlap[name])]
    return Found(x=x, y=y, radius=radius, overlap=overlap, color=_colors(image, mask, best))


def _dilate(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_dilation(mask, _AROUND), bool)


def _colors(image: Array, mask: NDArray[np.bool_], template: Array) -> dict[str, float]:
    weight = np.where(mask, template, 0)
    full = weight > 0.97
    if full.sum() < _FEWEST_CORE_PIXELS:
        full = np.zeros_like(full)
        full.ravel()[np.argsort(-weight, axis=None, kind="stable")[:_FEWEST_CORE_PIXELS]] = True
    pixels = image[:, full]  # [3, n]
    distance = np.sqrt(((pixels[None] - _PALETTE[:, :, None]) ** 2).sum(1))  # [8, n]
    fits = np.clip((COLOR_ZERO - distance) / (COLOR_ZERO - COLOR_FULL), 0, 1).mean(1)
    return {name: float(fit) for name, fit in zip(COLORS, fits, strict=True)}
