"""Wrong captions and bad pictures, as a model trained on the web meets them."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from fdfo.shapes.grammar import caption
from fdfo.shapes.render import Array, render
from fdfo.shapes.sampling import sample_scene
from fdfo.shapes.scene import BACKGROUND, COLORS, PLACES, RELATIONS, SHAPES, SIZES, Spec, Wish
from fdfo.shapes.splits import split_of

Mistake = Callable[[Spec, np.random.Generator], Spec | None]
_ATTEMPTS = 50


def wrong_spec(spec: Spec, rng: np.random.Generator) -> Spec:
    """`spec` with one mistake: a count, colour, shape, size, place or relation changed, colours swapped, one object
    forgotten or invented.

    The caption of the result is always of the training split; once in a thousand times no such mistake is found and
    `spec` is returned as it is.
    """
    for _ in range(_ATTEMPTS):
        mistake = _MISTAKES[rng.integers(len(_MISTAKES))]
        wrong = mistake(spec, rng)
        if wrong is not None and wrong != spec and split_of(caption(wrong)) == "train":
            return wrong
    return spec


def bad_picture(spec: Spec, rng: np.random.Generator, magnification: int = 1) -> Array:
    """A picture of `spec` whose objects may be merged, or that is faded, blurred or grainy: [3, H, W] in [0, 1]."""
    kind = rng.integers(4)
    if kind == 0 and len(spec.wishes) > 1:
        return render(sample_scene(spec, rng, gap=-rng.uniform(3, 8)), rng, magnification)
    image = render(sample_scene(spec, rng), rng, magnification)
    if kind == 1:
        background = np.asarray(BACKGROUND, np.float32)[:, None, None]
        image = background + np.float32(rng.uniform(0.3, 0.7)) * (image - background)
    elif kind == 2:
        image = image + rng.normal(0, rng.uniform(0.06, 0.16), image.shape).astype(np.float32)
    else:
        sigma = magnification * rng.uniform(0.9, 1.8)
        image = gaussian_filter(image, (0, sigma, sigma), mode="nearest")
    return np.clip(image, 0, 1)


def _other(options: Iterable[str], current: str, rng: np.random.Generator) -> str:
    rest = [name for name in options if name != current]
    return rest[rng.integers(len(rest))]


def _changing(attribute: str, options: Iterable[str]) -> Mistake:
    """The mistake that changes one attribute of one wish, or of all of them when they are counted."""

    def change(spec: Spec, rng: np.random.Generator) -> Spec | None:
        index = rng.integers(len(spec.wishes))
        current = getattr(spec.wishes[index], attribute)
        if current is None:
            return None
        wish = replace(spec.wishes[index], **{attribute: _other(options, current, rng)})
        if spec.category == "counting":
            return replace(spec, wishes=(wish,) * len(spec.wishes))
        return replace(spec, wishes=tuple(wish if i == index else old for i, old in enumerate(spec.wishes)))

    return change


def _miscount(spec: Spec, rng: np.random.Generator) -> Spec | None:
    count = len(spec.wishes) + int(rng.choice((-1, 1)))
    if spec.category != "counting" or not 2 <= count <= 4:
        return None
    return replace(spec, wishes=spec.wishes[:1] * count)


def _relate(spec: Spec, rng: np.random.Generator) -> Spec | None:
    if spec.relation is None:
        return None
    return replace(spec, relation=_other(RELATIONS, spec.relation, rng))


def _swap_colors(spec: Spec, rng: np.random.Generator) -> Spec | None:
    if spec.category not in ("position", "attribute"):
        return None
    first, second = spec.wishes
    return replace(spec, wishes=(replace(first, color=second.color), replace(second, color=first.color)))


def _forget(spec: Spec, rng: np.random.Generator) -> Spec | None:
    if len(spec.wishes) != 2 or spec.category == "counting":
        return None
    left = spec.wishes[rng.integers(2)]
    return Spec(category="colors" if left.color else "single", wishes=(left,))


def _invent(spec: Spec, rng: np.random.Generator) -> Spec | None:
    wish = spec.wishes[0]
    if len(spec.wishes) != 1 or wish.place:
        return None
    shape = _other(SHAPES, wish.shape, rng)
    if spec.category == "single":
        return Spec(category="two", wishes=(wish, Wish(shape=shape)))
    if wish.color is None or wish.size:
        return None
    return Spec(category="attribute", wishes=(wish, Wish(shape=shape, color=_other(COLORS, wish.color, rng))))


_MISTAKES: tuple[Mistake, ...] = (
    _miscount,
    _changing("color", COLORS),
    _changing("shape", SHAPES),
    _changing("size", SIZES),
    _changing("place", PLACES),
    _relate,
    _swap_colors,
    _forget,
    _invent,
)
