"""How neat a picture is, whatever its caption: the share of it that a clean drawing of its own objects explains.

H = W = 32 m pixels, m the magnification.
"""

import numpy as np

from fdfo.shapes.render import Array, magnification_of, render
from fdfo.shapes.scene import BACKGROUND, Object, Scene
from fdfo.shapes.segment import segment

_BACKGROUND = np.array(BACKGROUND, np.float32)[:, None, None]


def redraw(image: Array) -> Array:
    """A clean picture [3, H, W] of the objects found in a finite one, each as its best fitting shape and colour."""
    objects = tuple(
        Object(
            shape=found.shape_name,
            color=found.color_name,
            x=found.x,
            y=found.y,
            radius=found.radius[found.shape_name],
        )
        for found in segment(image).objects
    )
    return render(Scene(objects=objects), magnification=magnification_of(image.shape))


def neatness(image: Array) -> float:
    """R^2 of the redrawn picture: 1 - |image - redrawn|^2 / |image - background|^2, 0 where that is negative.

    1 for a clean picture, 0 for one on which no object is found.
    """
    drawn = float(((image - _BACKGROUND) ** 2).sum())
    missed = float(((image - redraw(image)) ** 2).sum())
    return max(0.0, 1 - missed / drawn) if drawn else 0.0
