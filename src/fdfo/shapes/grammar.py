"""Every caption of the shapes world and its meaning, both ways.

Six categories after GenEval (arXiv:2310.11513): a circle at the top left · a small circle and a cross · three red
squares · a big red circle · a red circle left of a blue square · a red circle and a blue square.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations, permutations, product

from fdfo.errors import PromptError
from fdfo.shapes.scene import CATEGORIES, COLORS, PLACES, RELATIONS, SHAPES, SIZES, Spec, Wish

COUNTS = {2: "two", 3: "three", 4: "four"}
_SIZES = (None, *SIZES)
_PLACES = (None, *PLACES)
_COLORS = (None, *COLORS)


def parse(text: str) -> Spec:
    """The meaning of a caption; case, spaces and a final full stop do not matter.

    Raises PromptError when the text is not a caption of the grammar.
    """
    spec = find(text)
    if spec is None:
        raise PromptError(
            f"{text!r} is not a caption of the shapes world; a caption is like 'a circle at the top left', "
            "'a small circle and a big cross', 'three red squares', 'a big red circle', "
            "'a red circle left of a blue square' or 'a red circle and a blue square'"
        )
    return spec


def find(text: str) -> Spec | None:
    """The meaning of a caption as in `parse`, or None when the text is not in the grammar."""
    return _specs().get(" ".join(text.lower().split()).removesuffix("."))


def category(text: str) -> str | None:
    """The category of a caption, one of `CATEGORIES`, or None when the text is not in the grammar."""
    spec = find(text)
    return None if spec is None else spec.category


def caption(spec: Spec) -> str:
    """The caption that says exactly `spec`."""
    first = spec.wishes[0]
    if spec.category == "counting":
        words = (COUNTS[len(spec.wishes)], first.color, "crosses" if first.shape == "cross" else f"{first.shape}s")
        return " ".join(word for word in words if word)
    joint = " and " if spec.relation is None else f" {spec.relation} "
    return joint.join(_noun_phrase(wish) for wish in spec.wishes)


def specs(of_category: str) -> Iterator[Spec]:
    """All meanings of one category, in a fixed order."""
    return {
        "single": _single,
        "two": _two,
        "counting": _counting,
        "colors": _colors,
        "position": _position,
        "attribute": _attribute,
    }[of_category]()


def words() -> list[str]:
    """The distinct words of all captions, sorted."""
    return sorted({word for text in _specs() for word in text.split()})


def _noun_phrase(wish: Wish) -> str:
    words = [word for word in (wish.size, wish.color, wish.shape, wish.place) if word]
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def _single() -> Iterator[Spec]:
    for size, shape, place in product(_SIZES, SHAPES, _PLACES):
        yield Spec(category="single", wishes=(Wish(shape=shape, size=size, place=place),))


def _two() -> Iterator[Spec]:
    for first, second in permutations(SHAPES, 2):
        for sizes in product(_SIZES, _SIZES):
            yield Spec(category="two", wishes=(Wish(shape=first, size=sizes[0]), Wish(shape=second, size=sizes[1])))


def _counting() -> Iterator[Spec]:
    for count, color, shape in product(COUNTS, _COLORS, SHAPES):
        yield Spec(category="counting", wishes=(Wish(shape=shape, color=color),) * count)


def _colors() -> Iterator[Spec]:
    for size, color, shape in product(_SIZES, COLORS, SHAPES):
        yield Spec(category="colors", wishes=(Wish(shape=shape, size=size, color=color),))


def _position() -> Iterator[Spec]:
    for (first, second), relation in product(_pairs(), RELATIONS):
        yield Spec(category="position", wishes=(first, second), relation=relation)
        yield Spec(category="position", wishes=(second, first), relation=relation)


def _attribute() -> Iterator[Spec]:
    for first, second in _pairs():
        yield Spec(category="attribute", wishes=(first, second))
        yield Spec(category="attribute", wishes=(second, first))


def _pairs() -> Iterator[tuple[Wish, Wish]]:
    """Unordered pairs of coloured shapes that differ in both, so that colours can be bound to the wrong shape."""
    for shapes in combinations(SHAPES, 2):
        for colors in permutations(COLORS, 2):
            yield Wish(shape=shapes[0], color=colors[0]), Wish(shape=shapes[1], color=colors[1])


@cache
def _specs() -> dict[str, Spec]:
    return {caption(spec): spec for name in CATEGORIES for spec in specs(name)}
