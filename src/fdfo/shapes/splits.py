"""Which captions are for training, for tuning and for the final test.

Captions are split by *combination*: those that mean the same ("a A and a B", "a B and a A") stay together, and a pair
of coloured shapes that is held out appears neither as `position` nor as `attribute` in training. The order is that
of a digest, so it is the same on every machine and in every process.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

from fdfo.errors import ConfigError, nearest
from fdfo.shapes.grammar import caption, find, specs
from fdfo.shapes.scene import CATEGORIES, RELATIONS, Spec

SPLITS = ("train", "validation", "test")
HELD_OUT_CAPTIONS = 24
"""Captions of each category in `validation`, and as many in `test`."""
_PAIRED = ("two", "position", "attribute")


@dataclass(frozen=True)
class Caption:
    """One caption and its category."""

    text: str
    category: str


def captions(split: str, category: str | None = None) -> list[Caption]:
    """The captions of a split ("train", "validation" or "test"), of one category or of all of them in turn.

    Within a category the order is random but fixed, so any first n are a fair sample.
    Raises ConfigError for an unknown split or category.
    """
    problems = []
    if split not in SPLITS:
        problems.append(f"split {split!r} does not exist; {nearest(split, list(SPLITS))}")
    if category is not None and category not in CATEGORIES:
        problems.append(f"category {category!r} does not exist; {nearest(category, list(CATEGORIES))}")
    if problems:
        raise ConfigError("the shapes captions", problems)
    names = CATEGORIES if category is None else (category,)
    return [item for name in names for item in _by_split(name)[split]]


def interleaved(split: str, count: int) -> list[Caption]:
    """`count` captions of a split that take the categories in turn, each in its own order, repeating when used up.

    Raises ConfigError for an unknown split.
    """
    lists = [captions(split, name) for name in CATEGORIES]
    return [lists[i % len(lists)][i // len(lists) % len(lists[i % len(lists)])] for i in range(count)]


def split_of(text: str) -> str | None:
    """The split of a caption; None when it is in no split or not in the grammar."""
    spec = find(text)
    return None if spec is None else _split_table().get(caption(spec))


def combination(spec: Spec) -> str:
    """The key that captions of one meaning share, and on which the split is drawn.

    For `position` and `attribute` it is the pair of coloured shapes alone.
    """
    parts = [f"{wish.size} {wish.color} {wish.shape} {wish.place}" for wish in spec.wishes]
    kind = "pair" if spec.category in ("position", "attribute") else spec.category
    return f"{kind}: " + ", ".join(sorted(parts))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8, person=b"fdfo.shapes").digest()


@cache
def _by_split(category: str) -> dict[str, tuple[Caption, ...]]:
    """Captions of one category by split; other relations of a held-out pair are in no split."""
    all_specs = list(specs(category))
    keys = sorted({combination(spec) for spec in all_specs}, key=_digest)
    size = HELD_OUT_CAPTIONS // (2 if category in _PAIRED else 1)
    held_out = {"validation": set(keys[:size]), "test": set(keys[size : 2 * size])}
    table: dict[str, list[str]] = {name: [] for name in SPLITS}
    for spec in all_specs:
        key = combination(spec)
        split = next((name for name, chosen in held_out.items() if key in chosen), "train")
        if split == "train" or spec.relation is None or _is_chosen_relation(spec, key):
            table[split].append(caption(spec))
    return {
        name: tuple(Caption(text, category) for text in sorted(texts, key=_digest)) for name, texts in table.items()
    }


def _is_chosen_relation(spec: Spec, key: str) -> bool:
    """Whether the spec is the one relation, said either way round, that is kept of a held-out pair."""
    assert spec.relation is not None
    step = RELATIONS[spec.relation]
    first, second = (wish.shape for wish in spec.wishes)
    if first > second:
        step = (-step[0], -step[1])
    return step == list(RELATIONS.values())[_digest(f"relation of {key}")[0] % len(RELATIONS)]


@cache
def _split_table() -> dict[str, str]:
    return {item.text: split for name in CATEGORIES for split, items in _by_split(name).items() for item in items}
