"""What every page shares: text that can be read in both schemes, and files that are found."""

import colorsys
import re
from itertools import combinations

import pytest

from fdfo import look
from fdfo.evaluation.report.curves import color_of_run

TEXT = ("ink", "muted", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "won", "alarm")
GROUNDS = ("page", "card")
LEAST_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3."""
LEAST_OF_SHAPES = 3.0
"""Of what is no text: criterion 1.4.11."""


def colors(scheme):
    light, dark = look.source("base.css").split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark)) if scheme == "dark" else {})


def luminance(color):
    """Relative luminance of `#rrggbb`, as WCAG defines it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def painted(text, over="rgb(0, 0, 0)", opacity=1.0):
    """`#rrggbb` of a colour as a browser computes it, alone or mixed with what it is painted over."""
    top, ground = (list(map(int, re.search(r"rgb\((\d+), (\d+), (\d+)\)", one).groups())) for one in (text, over))
    return "#" + "".join(f"{round(opacity * a + (1 - opacity) * b):02x}" for a, b in zip(top, ground, strict=True))


def contrast(one, other):
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the standard's well-known near miss


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_can_be_read_on_every_ground(scheme):
    found = colors(scheme)
    pairs = [(text, ground) for text in TEXT for ground in GROUNDS]
    pairs += [("ink", "alarm-page"), ("alarm", "alarm-page"), ("card", "won")]
    faint = {pair: contrast(found[pair[0]], found[pair[1]]) for pair in pairs}
    assert not {pair: value for pair, value in faint.items() if value < LEAST_CONTRAST}
    assert contrast(found["edge"], found["page"]) >= LEAST_OF_SHAPES


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_of_five_runs_differ_in_hue(scheme):
    chosen = [colors(scheme)[f"s{color_of_run(index)}"] for index in range(5)]
    hues = [colorsys.rgb_to_hls(*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0] for color in chosen]
    apart = [abs((one - other + 0.5) % 1 - 0.5) * 360 for one, other in combinations(hues, 2)]
    assert min(apart) > 15, apart


def test_styles_and_scripts_come_in_one():
    assert all(look.source(name) in look.style() for name in look.STYLES)
    assert look.script().endswith("enliven(document);")
