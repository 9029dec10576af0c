"""What blocks keep, counted by hand: a unit is one tensor of a row."""

import torch
from torch.nn import Linear, Module, ModuleList

from fdfo.models.activations import Blocks

UNIT = 4 * 3 * 8
"""Bytes of three rows of eight numbers."""


class Bent(Module):
    """x + tanh(W x): keeps x for W, and what tanh gives for itself."""

    evaluated = 0

    def __init__(self, width=8):
        super().__init__()
        self.inner, self.outer = Linear(8, width), Linear(width, 8) if width != 8 else None

    def forward(self, x):
        Bent.evaluated += 1
        y = self.inner(x).tanh()
        return x + (y if self.outer is None else self.outer(y))


def test_blocks_that_are_alike_are_evaluated_once_and_all_counted(monkeypatch):
    monkeypatch.setattr(Bent, "evaluated", 0)
    count = Blocks()
    with torch.device("meta"):
        x = torch.empty(3, 8)
        for block in ModuleList([Bent(), Bent(), Bent()]):
            x = count(block, x)
    # The first x needs no gradient, the others do: they are alike among themselves.
    assert Bent.evaluated == 2
    assert count.inside.nbytes == (3 + 3) * UNIT
    assert count.entering.nbytes == 3 * UNIT
    assert count.largest == 2 * UNIT


def test_blocks_that_differ_are_evaluated_each(monkeypatch):
    monkeypatch.setattr(Bent, "evaluated", 0)
    count = Blocks()
    with torch.device("meta"):
        x = torch.empty(3, 8, requires_grad=True)
        for block in ModuleList([Bent(), Bent(16), Bent()]):
            x = count(block, x)
    assert Bent.evaluated == 2
    assert count.inside.nbytes == (3 + 1 + 2 + 1) * UNIT
    assert count.largest == 3 * UNIT
    count(Bent().requires_grad_(False).to("meta"), x)
    assert Bent.evaluated == 3, "what needs no gradient keeps less"
