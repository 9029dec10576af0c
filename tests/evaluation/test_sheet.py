"""A sheet shows every picture whole, enlarged without blur, and says what it is."""

import numpy as np
import pytest
import torch

from fdfo.evaluation.captions import own_font, wrapped
from fdfo.evaluation.sheet import BACKGROUND, sheet


def find(canvas, picture, factor):
    """Corners where the picture, enlarged by the factor, stands in the canvas."""
    wanted = picture.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)
    height, width = wanted.shape[:2]
    corners = np.argwhere((canvas == wanted[0, 0]).all(-1))
    return [(y, x) for y, x in corners.tolist() if np.array_equal(canvas[y : y + height, x : x + width], wanted)]


@pytest.mark.parametrize(("side", "factor"), [((32, 32), 4), ((24, 50), 3), ((200, 136), 1)])
def test_pictures_stand_by_prompt_weights_and_seed(side, factor):
    pictures = torch.randint(0, 256, (2, 2, 3, 3, *side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    canvas = np.asarray(sheet(pictures, ["a red circle", "a blue cross"], ["base", "trained"], list("abc")))
    corners = [find(canvas, picture, factor) for picture in pictures.flatten(0, 2)]
    assert all(len(found) == 1 for found in corners)
    tops = [found[0][0] for found in corners]
    lefts = [found[0][1] for found in corners]
    assert tops == sorted(tops) and len(set(tops)) == 4  # prompt after prompt, base above trained
    assert lefts == lefts[:3] * 4 and lefts[:3] == sorted(set(lefts))


def ink(image, box):
    """Whether anything is written in (left, top, right, bottom)."""
    return (np.asarray(image.crop(box)) != np.asarray(image.crop((0, 0, 1, 1)))).any()


def test_prompts_and_labels_are_written_and_long_prompts_stay_inside():
    picture = torch.zeros(1, 2, 1, 3, 32, 32, dtype=torch.uint8)
    image = sheet(picture, ["word " * 200], ["base", "trained"], [""])
    canvas = np.asarray(image)
    top, left = (int(axis.min()) for axis in np.nonzero((canvas == 0).all(-1)))
    assert BACKGROUND == "#ffffff" and (canvas[0, 0] == 255).all()
    assert ink(image, (0, 0, image.width, top))
    assert ink(image, (0, top, left, top + 128)) and ink(image, (0, top + 132, left, top + 260))
    assert not ink(image, (image.width - 12, 0, image.width, top))


def test_every_column_has_its_name_above_it():
    picture = torch.zeros(1, 1, 3, 3, 32, 32, dtype=torch.uint8)
    image = sheet(picture, [""], ["base"], ["seed 0", "", "seed 2"])
    canvas = np.asarray(image)
    rows, columns = np.nonzero((canvas == 0).all(-1))
    lefts = [int(left) for left in np.unique(columns) if left - 1 not in columns]
    assert len(lefts) == 3
    named = [ink(image, (left, 0, left + 128, int(rows.min()))) for left in lefts]
    assert named == [True, False, True]


def test_a_prompt_of_many_words_takes_three_lines_and_is_read_to_its_end():
    """Forty words above four pictures: what stands in one line is what fits there."""
    words = [f"word{number}" for number in range(40)]
    lines = wrapped(" ".join(words), own_font(), 540, 3)
    assert " ".join(lines).rstrip("…").split()[:-1] == words[: len(" ".join(lines).split()) - 1] and len(lines) == 3
    assert all(own_font().getlength(line) <= 540 for line in lines)
    short = " ".join(words[:20])
    assert " ".join(wrapped(short, own_font(), 540, 3)) == short  # nothing is lost where there is room
    assert wrapped("x" * 500, own_font(), 100, 3)[0].endswith("…") and wrapped("", own_font(), 100, 3) == [""]
    picture = torch.zeros(2, 1, 4, 3, 32, 32, dtype=torch.uint8)
    one, three = (sheet(picture, [text, "a"], ["base"], [""] * 4) for text in ("a", " ".join(words)))
    assert three.height - one.height == 2 * 2 * 22  # both prompts have the room of the longest
