"""Kinds of regressions; importing this loads no torch."""

from typing import Literal

ErrorWeighting = Literal["velocity", "linear", "clean"]
"""Weight of the squared velocity error: 1, t or t^2."""
