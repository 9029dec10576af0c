"""Captions in a picture: on one line, no wider than there is room, in a font that has their characters."""

import os
import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from PIL import ImageFont, features

from fdfo.visible import visible

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

SIZE = 14
"""Of the text in pixels."""

_MISSING = "\U0010ffff"
"""No character: fonts draw their box for it."""

_UNDRAWN = re.compile("[\u200b-\u200d\ufe00-\ufe0f]")
"""What only changes its neighbours."""

_JOINED = re.compile("[\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff]")
"""Scripts whose characters change with their neighbours."""

_PLAIN_LAST = re.compile("bold|italic|oblique|condensed|narrow|light|thin|black|mono|serif", re.IGNORECASE)


def on_one_line(text: str) -> str:
    """A caption without line ends, and without what would not be drawn."""
    return _UNDRAWN.sub("", visible(" ".join(text.split())))


def shortened(line: str, font: Font, room: int) -> str:
    """A line, cut with an ellipsis where it is wider than `room` pixels."""
    length = 64
    while length < len(line) and font.getlength(line[:length]) <= room:
        length *= 2
    if length >= len(line) and font.getlength(line) <= room:
        return line
    lengths = range(min(length, len(line)) + 1)
    fitting = bisect_right(lengths, room, key=lambda n: font.getlength(line[:n].rstrip() + "…"))
    return line[: max(0, fitting - 1)].rstrip() + "…"


def wrapped(line: str, font: Font, room: int, most: int) -> list[str]:
    """A line as up to `most` lines of `room` pixels, broken between words; each is cut where it is still wider."""
    lines, words = [""], line.split(" ")
    for place, word in enumerate(words):
        if len(lines) == most:
            lines[-1] = " ".join([lines[-1], *words[place:]]).strip()
            break
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return [shortened(one, font, room) for one in lines]


def font_for(line: str) -> Font | None:
    """Pillow's own font where it has all characters of a line, else the first installed one that has; None if none."""
    characters = frozenset(line)
    if (own := own_font()) and _has(own, characters):
        return own
    path = _path_for(characters)
    return None if path is None else ImageFont.truetype(path, SIZE)


@cache
def own_font() -> Font:
    """The font that comes with Pillow: Latin without accents."""
    return ImageFont.load_default(size=SIZE)


@cache
def _path_for(characters: frozenset[str]) -> str | None:
    for path in _installed():
        try:
            font = ImageFont.truetype(path, SIZE)
            if _has(font, characters):
                return path
        except (OSError, ValueError):  # a font of pictures, or a damaged one
            continue
    return None


def _has(font: Font, characters: frozenset[str]) -> bool:
    """Whether a font draws every character, and joins those of scripts that need it."""
    text = "".join(characters)
    is_joined = _JOINED.search(text) or any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    if is_joined and not (features.check("raqm") and getattr(font, "layout_engine", None) == ImageFont.Layout.RAQM):
        return False
    box = _drawn(_MISSING, font)
    return all(_drawn(character, font) != box for character in characters)


def _drawn(character: str, font: Font) -> bytes:
    """The pixels of a character."""
    mask: Any = font.getmask(character)
    return bytes(mask)


@cache
def _installed() -> tuple[str, ...]:
    """Paths of the fonts of this machine, plain ones first."""
    paths = {str(path) for folder in _folders() for path in folder.rglob("*.[to]t[fc]")}
    return tuple(sorted(paths, key=lambda path: (bool(_PLAIN_LAST.search(os.path.basename(path))), path)))


def _folders() -> Iterator[Path]:
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
        yield home / "AppData" / "Local" / "Microsoft" / "Windows" / "Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts")
    else:
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        yield from (Path(folder) / "fonts" for folder in shared.split(":"))
        yield from (home / ".local" / "share" / "fonts", home / ".fonts")
