"""A sheet of pictures for people: under each prompt a labelled row for each set of weights, a column for each seed."""

import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Suffix of a file and its format."""

LEAST_SIDE = 128
"""Smaller pictures are enlarged by a whole factor."""

GAP, MARGIN, TEXT_SIZE, LINE = 4, 12, 14, 22
BACKGROUND, INK, FAINT = "#ffffff", "#333333", "#666666"
JPEG_QUALITY = 95


def sheet(pictures: Tensor, prompts: Sequence[str], labels: Sequence[str], columns: Sequence[str]) -> Image.Image:
    """Draw uint8 pictures [P, W, S, 3, H, W']: P prompts, W sets of weights with their labels, S columns with theirs.

    A single set of weights needs no label.
    """
    font = ImageFont.load_default(size=TEXT_SIZE)
    seeds, (height, width) = pictures.shape[2], _enlarged(pictures.shape[-2], pictures.shape[-1])
    indent = max(int(font.getlength(label)) for label in labels) + MARGIN if len(labels) > 1 else 0
    block = LINE + len(labels) * (height + GAP) + MARGIN
    size = (2 * MARGIN + indent + seeds * (width + GAP) - GAP, MARGIN + LINE + len(prompts) * block)
    canvas = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for seed, column in enumerate(columns):
        pen.text((MARGIN + indent + seed * (width + GAP), MARGIN), column, fill=FAINT, font=font)
    for number, prompt in enumerate(prompts):
        top = MARGIN + LINE + number * block
        pen.text((MARGIN, top), _shortened(prompt, font, size[0] - 2 * MARGIN), fill=INK, font=font)
        for row, label in enumerate(labels):
            upper = top + LINE + row * (height + GAP)
            if indent:
                pen.text((MARGIN, upper + height // 2), label, fill=INK, font=font, anchor="lm")
            for seed in range(seeds):
                picture = Image.fromarray(pictures[number, row, seed].permute(1, 2, 0).contiguous().numpy())
                enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
                canvas.paste(enlarged, (MARGIN + indent + seed * (width + GAP), upper))
    return canvas


def encoded(picture: Image.Image, suffix: str, texts: Mapping[str, str]) -> bytes:
    """The file of a picture, in the format of one of the suffixes of FORMATS; a PNG file carries the named texts."""
    buffer, chunks = io.BytesIO(), PngInfo()
    for name, text in texts.items():
        chunks.add_itxt(name, text)
    picture.save(buffer, format=FORMATS[suffix.lower()], optimize=True, quality=JPEG_QUALITY, pnginfo=chunks)
    return buffer.getvalue()


def _enlarged(height: int, width: int) -> tuple[int, int]:
    factor = max(1, -(-LEAST_SIDE // max(height, width)))
    return factor * height, factor * width


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: int) -> str:
    """Text on one line, cut with an ellipsis where it is wider than `room` pixels."""
    line = " ".join(text.split())
    if font.getlength(line) <= room:
        return line
    while line and font.getlength(line + "…") > room:
        line = line[:-1].rstrip()
    return line + "…"
