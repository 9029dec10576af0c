"""A sheet of pictures for people: under each prompt a labelled row for each set of weights, a column for each seed."""

import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from fdfo.evaluation.captions import Font, font_for, on_one_line, own_font, shortened, wrapped

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Suffix of a file and its format."""

LEAST_SIDE = 128
"""Smaller pictures are enlarged by a whole factor."""

GAP, MARGIN, LINE = 4, 12, 22
MOST_LINES = 3
"""Of a prompt."""
WIDEST_LABEL = 240
BACKGROUND, INK, FAINT = "#ffffff", "#333333", "#666666"
JPEG_QUALITY = 95


def sheet(pictures: Tensor, prompts: Sequence[str], labels: Sequence[str], columns: Sequence[str]) -> Image.Image:
    """Draw uint8 pictures [P, W, S, 3, H, W']: P prompts, W sets of weights with their labels, S columns with theirs.

    A single set of weights needs no label. A prompt that no font here can write has its number above it, from 1.
    """
    font = own_font()
    seeds, (height, width) = pictures.shape[2], _enlarged(pictures.shape[-2], pictures.shape[-1])
    names = [_written(label, f"weights {row + 1}", WIDEST_LABEL) for row, label in enumerate(labels)]
    indent = max(int(own.getlength(line)) for line, own in names) + MARGIN if len(labels) > 1 else 0
    across = indent + seeds * (width + GAP) - GAP
    above = [_lines(prompt, f"prompt {number + 1}", across) for number, prompt in enumerate(prompts)]
    heading = LINE * max((len(lines) for lines, _ in above), default=1)
    block = heading + len(labels) * (height + GAP) + MARGIN
    size = (2 * MARGIN + across, MARGIN + LINE + len(prompts) * block)
    canvas = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for seed, column in enumerate(columns):
        pen.text((MARGIN + indent + seed * (width + GAP), MARGIN), column, fill=FAINT, font=font)
    for number, (lines, own) in enumerate(above):
        top = MARGIN + LINE + number * block
        for place, line in enumerate(lines):
            pen.text((MARGIN, top + place * LINE), line, fill=INK, font=own)
        for row, (label, own) in enumerate(names):
            upper = top + heading + row * (height + GAP)
            if indent:
                pen.text((MARGIN, upper + height // 2), label, fill=INK, font=own, anchor="lm")
            for seed in range(seeds):
                picture = Image.fromarray(pictures[number, row, seed].permute(1, 2, 0).contiguous().numpy())
                enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
                canvas.paste(enlarged, (MARGIN + indent + seed * (width + GAP), upper))
    return canvas


def unwritten(prompts: Sequence[str]) -> list[int]:
    """Numbers, from 1, of the prompts that no font here can write."""
    return [number for number, prompt in enumerate(prompts, start=1) if font_for(on_one_line(prompt)) is None]


def encoded(picture: Image.Image, suffix: str, texts: Mapping[str, str]) -> bytes:
    """The file of a picture, in the format of one of the suffixes of FORMATS; a PNG file carries the named texts."""
    buffer, chunks = io.BytesIO(), PngInfo()
    for name, text in texts.items():
        chunks.add_itxt(name, text)
    picture.save(buffer, format=FORMATS[suffix.lower()], optimize=True, quality=JPEG_QUALITY, pnginfo=chunks)
    return buffer.getvalue()


def _lines(text: str, instead: str, room: int) -> tuple[list[str], Font]:
    """A text on a few lines of so many pixels, the last one shortened, and a font that has it; or `instead` of it."""
    line = on_one_line(text)
    font = font_for(line)
    return ([instead], own_font()) if font is None else (wrapped(line, font, room, MOST_LINES), font)


def _written(text: str, instead: str, room: int) -> tuple[str, Font]:
    """A text on one line of so many pixels and a font that has it; where there is none, `instead` of the text."""
    line = on_one_line(text)
    font = font_for(line)
    return (instead, own_font()) if font is None else (shortened(line, font, room), font)


def _enlarged(height: int, width: int) -> tuple[int, int]:
    factor = max(1, -(-LEAST_SIDE // max(height, width)))
    return factor * height, factor * width
