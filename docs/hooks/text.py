"""Texts of the code as Markdown, in which a `<run>` would be a tag of HTML and vanish."""

import re


def escaped(text: str) -> str:
    """The same text, with what looks like a tag kept as it is written; what stands in backticks is safe already."""
    return re.sub(r"`[^`]*`|<", lambda found: "&lt;" if found[0] == "<" else found[0], text)


def paragraph(text: str) -> str:
    """A text on one line."""
    return escaped(" ".join(text.split()))


def code(text: str) -> str:
    """What stands between backticks in a cell of a table, where nothing is a tag."""
    return " ".join(text.split()).replace("|", "\\|")


def cell(text: str) -> str:
    """A text as a cell of a table."""
    return escaped(code(text))
