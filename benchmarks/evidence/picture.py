"""The README's picture: `python -m benchmarks.evidence.picture RUN [--output docs/images/demo.png]`.

Shows all of the run's own evaluation pictures (fixed prompts and noise), before training and at its end.
"""

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fdfo.evaluation.pictures import read_grid

ZOOM, GAP, COLUMNS = 3, 4, 6
TEXT_HEIGHT, MARGIN = 34, 12
BACKGROUND, INK = "#ffffff", "#333333"


def draw(run: Path) -> Image.Image:
    """A cell for every prompt: before, after, and the caption below."""
    files = sorted((run / "samples").glob("epoch-*.png"))
    (grid, before), (_, after) = read_grid(files[0]), read_grid(files[-1])
    height, width = (side * ZOOM for side in grid.tile)
    cell_width, cell_height = 2 * width + GAP + MARGIN, height + TEXT_HEIGHT
    rows = -(-len(before) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * cell_width + MARGIN, rows * cell_height + MARGIN), BACKGROUND)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=12)
    for index, (title, first, second) in enumerate(zip(grid.titles, before, after, strict=True)):
        left = MARGIN + index % COLUMNS * cell_width
        top = MARGIN + index // COLUMNS * cell_height
        for offset, picture in ((0, first), (width + GAP, second)):
            canvas.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left + offset, top))
        text = "\n".join(textwrap.wrap(title, 32)[:2])
        pen.multiline_text((left, top + height + 2), text, fill=INK, font=font, spacing=1)
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images/demo.png"))
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(options.run).save(options.output, optimize=True)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
