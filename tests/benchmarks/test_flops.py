"""Operations counted on the meta device."""

import pytest

from benchmarks.speed.flops import row_cost
from benchmarks.speed.scale import MEDIUM


@pytest.mark.slow
def test_a_row_of_the_published_setting():
    cost = row_cost(MEDIUM)
    assert (cost.forward, cost.trained) == (pytest.approx(2.25, abs=0.005), pytest.approx(4.77, abs=0.005))
