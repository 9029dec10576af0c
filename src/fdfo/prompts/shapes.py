"""The captions of the shapes world as prompt lists.

All categories are equally long blocks, one after another, so that prompts at equal distances over the list are
balanced whatever their number. (Taking the categories in turn would not do: every 6th prompt is of one category.)
"""

from itertools import cycle, islice

from fdfo.records import Prompt
from fdfo.shapes.scene import CATEGORIES
from fdfo.shapes.splits import captions


def train() -> list[Prompt]:
    """Captions to train on; those of small categories repeat until all categories are as long as the longest."""
    return _balanced("train")


def validation() -> list[Prompt]:
    """Captions for evaluation during training and for choosing settings."""
    return _balanced("validation")


def test() -> list[Prompt]:
    """Captions for final numbers: use them once."""
    return _balanced("test")


def _balanced(split: str) -> list[Prompt]:
    by_category = {name: captions(split, name) for name in CATEGORIES}
    longest = max(map(len, by_category.values()))
    return [
        Prompt(text=caption.text, metadata={"category": name}, number=block * longest + i)
        for block, (name, entries) in enumerate(by_category.items())
        for i, caption in enumerate(islice(cycle(entries), longest))
    ]
