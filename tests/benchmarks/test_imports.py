"""Import times, added up."""

from benchmarks.speed.imports import by_package

TOLD = """import time: self [us] | cumulative | imported package
import time:       100 |        100 |   torch._C
import time:    900000 |    1000000 |     torch
import time:    500000 |    1500000 |   fdfo.records
import time:         7 |          7 | torchvision
something else on this stream
"""


def test_the_time_of_a_module_counts_once_and_for_its_own_package():
    assert by_package(TOLD) == {"torch": 0.9001, "fdfo": 0.5, "torchvision": 7e-6}
