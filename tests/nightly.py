"""Settings of a test that `make test-long` runs, and a daily run does not need."""

from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

import pytest

at_night = partial(pytest.param, marks=pytest.mark.slow)
"""A setting, as pytest.param takes it."""


def by_day(daily: Collection[str], names: Iterable[str]) -> list[Any]:
    """Settings by their names; those that are not daily at night."""
    return [name if name in daily else at_night(name) for name in names]
