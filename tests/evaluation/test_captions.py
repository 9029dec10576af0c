"""Captions stay on their line, whatever their length, and are never drawn as boxes."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageFont

from fdfo.evaluation import captions
from fdfo.evaluation.captions import SIZE, font_for, on_one_line, own_font, shortened, wrapped
from fdfo.evaluation.sheet import sheet, unwritten


@pytest.mark.parametrize("text", ["word " * 800, "i" * 4000, "W" * 4000, "wi " * 1333])
@pytest.mark.parametrize("room", [150, 600, 3000])
def test_a_long_caption_is_cut_to_the_longest_beginning_that_fits_in_a_tenth_of_a_second(text, room):
    font, line = own_font(), on_one_line(text)
    begun = time.process_time()
    cut = shortened(line, font, room)
    assert time.process_time() - begun < 0.1
    kept = cut.removesuffix("…")
    assert line.startswith(kept) and font.getlength(cut) <= room
    longer = line[: len(kept) + 2] if line[len(kept)] == " " else line[: len(kept) + 1]
    assert font.getlength(longer + "…") > room


def test_a_prompt_of_a_million_characters_is_wrapped_at_once():
    line = on_one_line("word " * 200_000)
    begun = time.process_time()
    first, second, last = wrapped(line, own_font(), 200, 3)
    assert time.process_time() - begun < 1
    assert (first, second) == (" ".join(["word"] * 5),) * 2
    assert last.startswith("word word") and last.endswith("…")
    assert wrapped(line, own_font(), 200, 1) == [shortened(line, own_font(), 200)]


def test_what_fits_is_not_cut():
    width = own_font().getlength("a red circle")
    assert shortened("a red circle", own_font(), int(width) + 1) == "a red circle"
    assert shortened("a red circle", own_font(), int(width) - 1).endswith("…")
    assert shortened("a red circle", own_font(), 3) == "…"


def test_a_caption_is_one_line_without_control_characters():
    assert on_one_line("  a\nb\t c\u2028d \x1b[31m\ufe0f") == "a b c d \\x1b[31m"


@pytest.fixture
def fonts(monkeypatch):
    """Let these files be all that is installed."""

    def fonts(*paths):
        monkeypatch.setattr(captions, "_installed", lambda: paths)
        captions._path_for.cache_clear()

    yield fonts
    captions._path_for.cache_clear()


def a_font_with(text):
    """The path of an installed font that has these characters, by Pillow's own masks."""
    for path in captions._installed():
        font = ImageFont.truetype(path, SIZE)
        if all(bytes(font.getmask(c)) != bytes(font.getmask("\U0010ffff")) for c in text):
            return path
    pytest.fail(f"no font on this machine has {text!r}; tests need DejaVu Sans, as fonts-dejavu-core")


def test_the_own_font_is_kept_where_it_has_all_characters_and_another_is_looked_for_where_not(fonts, tmp_path):
    greek = a_font_with("αβγ")
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"no font")
    fonts(str(damaged), greek)
    assert font_for("plain text, (quoted)") is own_font()
    found = font_for("αβγ")
    assert isinstance(found, ImageFont.FreeTypeFont) and Path(str(found.path)) == Path(greek)
    assert font_for("日本語") is None
    fonts()
    assert font_for("αβγ") is None


def test_text_that_is_joined_needs_a_layout_that_joins(fonts, monkeypatch):
    fonts(a_font_with("سلام"))
    assert font_for("سلام") is not None
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    captions._path_for.cache_clear()
    assert font_for("سلام") is None


def test_a_prompt_that_no_font_can_write_has_its_number(fonts):
    fonts()
    picture = torch.zeros(2, 1, 1, 3, 32, 32, dtype=torch.uint8)
    shown = np.asarray(sheet(picture, ["αβγ", "plain"], ["base"], ["seed 0"]))
    wanted = np.asarray(sheet(picture, ["prompt 1", "plain"], ["base"], ["seed 0"]))
    assert np.array_equal(shown, wanted)
    assert unwritten(["αβγ", "plain", "é"]) == [1, 3]
