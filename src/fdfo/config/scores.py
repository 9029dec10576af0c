"""What is known of scores by their entries in a configuration alone."""

from collections import Counter
from collections.abc import Sequence

from fdfo.plugins import BUILT_IN

RESERVED = ("reward", "diversity", "velocity_rms", "sharpness")
"""What evaluations hold beside the scores: the trained sum, and what is measured of the images."""


PLACEMENT = frozenset({"timeout_s", "device", "offload"})
"""Fields of every entry that say where and how a score is computed: they do not change what it is."""

PLACEMENT_OPTIONS = frozenset(
    {"url", "patience_s", "key_variable", "concurrency", "batch_size", "host", "port", "people", "repeat"}
)
"""Options of our own scores that do the same; one of another's score may mean anything."""


def placement_of(name: str) -> frozenset[str]:
    """What does not change a score of this name where it is written in its entry."""
    return PLACEMENT | PLACEMENT_OPTIONS if name in BUILT_IN["rewards"] else PLACEMENT


def distinct(titles: Sequence[str]) -> list[str]:
    """The second of the same title is `title#2`."""
    seen = Counter[str]()
    found = []
    for title in titles:
        seen[title] += 1
        found.append(title if seen[title] == 1 else f"{title}#{seen[title]}")
    return found
