"""Counts in words."""

import pytest

from fdfo.words import plural


@pytest.mark.parametrize(
    ("number", "nouns", "expected"),
    [
        (0, ("pair",), "0 pairs"),
        (1, ("pair",), "1 pair"),
        (2, ("pair",), "2 pairs"),
        (1, ("box", "boxes"), "1 box"),
        (1200, ("box", "boxes"), "1,200 boxes"),
    ],
    ids=str,
)
def test_a_noun_agrees_with_its_count(number, nouns, expected):
    assert plural(number, *nouns) == expected
