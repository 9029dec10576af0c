"""Operations counted on the meta device."""

import re
from pathlib import Path

import pytest

from benchmarks.speed.flops import COUNTED, row_cost
from benchmarks.speed.scale import MEDIUM


@pytest.mark.slow
def test_a_row_of_the_published_setting():
    cost = row_cost(MEDIUM)
    assert (cost.forward, cost.trained) == (pytest.approx(2.25, abs=0.005), pytest.approx(4.77, abs=0.005))


def test_only_networks_that_are_counted_right_are_counted():
    """Networks of other families have configurations that this one cannot take."""
    page = (Path(__file__).parents[2] / "docs" / "results" / "flops.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\S+/\S+) \|", page, re.MULTILINE) == COUNTED
