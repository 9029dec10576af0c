"""Counts in words."""

import ast
import re
from itertools import pairwise
from pathlib import Path

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


NOUNS = "card cell checkpoint choice column epoch estimate evaluation file folder image line message pair page"
NOUNS += " person picture point problem process prompt question repetition row run sample score seed step test"
NOUNS += " thread tie update value word"
COUNTED = {"people", "processes", *(f"{noun}s" for noun in NOUNS.split())}
NEVER_ONE = {"team.size", "most", "most_values", "len(runs)", "width", "runs[0].stage"}
"""Where one is told otherwise, or cannot be; and sides of pictures."""
SOURCE = Path(__file__).parents[1] / "src" / "fdfo"


def counts_of(path):
    """Values of the file's f-strings that a plural noun follows, as text; not measurements, which have a format, and
    constants, which are many."""
    for text in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for value, after in pairwise(text.values) if isinstance(text, ast.JoinedStr) else ():
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                found, given = re.match(r" (?:[a-z]+-[a-z]+ )?(\w+)\b(?!/)", str(after.value)), ast.unparse(value.value)
                is_counted = found and found[1] in COUNTED and value.format_spec is None and given not in NEVER_ONE
                if is_counted and not given.rpartition(".")[2].isupper():
                    yield f"{path.relative_to(SOURCE)}: {{{given}}}{found[0]}"


def test_no_message_counts_with_a_noun_that_does_not_agree():
    """A count is `plural(number, noun)`; what follows other values is not counted by them."""
    assert [
        line for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "pretrain" for line in counts_of(path)
    ] == []
