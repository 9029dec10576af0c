"""Text for people: the one function that every terminal and every page is reached through."""

import os
import re
from pathlib import Path
from typing import TextIO

_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, marks that end lines or turn their order, halves of surrogate pairs."""


def visible(text: str) -> str:
    """The same text with everything that would act on a terminal or a page, or cannot be written, as an escape."""
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def on_one_line(text: str) -> str:
    """As `visible`, with line feeds as escapes too: for what stands in a row of a table."""
    return visible(text).replace("\n", r"\n")


def can_redraw(stream: TextIO) -> bool:
    """Whether a line on a stream can be drawn again, as progress does.

    FORCE_COLOR, which notebooks set for commands, makes rich take any stream for a terminal.
    """
    return stream.isatty()


def from_here(path: Path) -> str:
    """A path as seen from the working directory; as it is where that directory is gone."""
    try:
        return os.path.relpath(path)
    except OSError:
        return str(path)
