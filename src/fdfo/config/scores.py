"""What is known of scores by their entries in a configuration alone."""

from collections import Counter
from collections.abc import Sequence

RESERVED = ("reward", "diversity", "velocity_rms", "sharpness")
"""What evaluations hold beside the scores: the trained sum, and what is measured of the images."""


PLACEMENT = frozenset(
    {"url", "timeout_s", "patience_s", "key_variable", "concurrency", "batch_size", "device", "offload"}
    | {"host", "port", "people", "repeat"}
)
"""Fields of an entry that say where and how a score is computed: they do not change what it is."""


def distinct(titles: Sequence[str]) -> list[str]:
    """The second of the same title is `title#2`."""
    seen = Counter[str]()
    found = []
    for title in titles:
        seen[title] += 1
        found.append(title if seen[title] == 1 else f"{title}#{seen[title]}")
    return found
