"""Pairs of plain colours in a run folder, and a person who likes red."""

import numpy as np
import torch
from PIL import Image

from fdfo.rewards.png import png_file
from fdfo.studio.choices import Choice, Journal
from fdfo.studio.pairs import Pair, keep_picture, pictures_of


def colours(run, count, seed=0):
    """Pairs of pictures [32, 32] of one colour each."""
    random, pairs = np.random.default_rng(seed), []
    for number in range(count):
        images = random.integers(0, 256, (2, 1, 1, 3), dtype=np.uint8).repeat(32, 1).repeat(32, 2)
        names = [keep_picture(run, one.shape, one.tobytes(), lambda one=one: png_file(one)) for one in images]
        pairs.append(Pair(prompt=f"a red circle {seed} and {number}", first=min(names), second=max(names)))
    return pairs


def shown(run, pairs):
    """The first and the second pictures [Q, 3, 32, 32] of pairs."""
    names = [[pair.first for pair in pairs], [pair.second for pair in pairs]]
    levels = [[np.array(Image.open(pictures_of(run) / f"{name}.png")) for name in side] for side in names]
    return tuple(torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2) / 255 for side in levels)


def redder(run, pair, wrong=False):
    """Which picture of a pair has more red than blue."""
    first, second = (float(side[0, 0].mean() - side[0, 2].mean()) for side in shown(run, [pair]))
    return "first" if (first > second) != wrong else "second"


def choose(run, pair, chosen, who="me"):
    """Write a choice of the redder picture, or of what is said."""
    known = {"pair": pair.key, "prompt": pair.prompt, "first": pair.first, "second": pair.second, "left": "first"}
    journal = Journal(run)
    with journal.held():
        journal.add(Choice(id=f"{who}-{pair.key}", chosen=chosen, who=who, when="2026-01-01", seconds=1.0, **known))
