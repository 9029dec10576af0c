"""`fdfo rewards list` and `fdfo rewards check`: which scores there are, and whether one works here."""

import re
import time
from inspect import Parameter, isclass, signature
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from fdfo.commands.licence import licence_of
from fdfo.commands.memory import memory_explained
from fdfo.commands.score import chosen_device, named_score
from fdfo.commands.terminal import say
from fdfo.config.presets import PRESETS
from fdfo.config.tree import RewardConfig
from fdfo.machine import peak_memory_gib
from fdfo.plugins import find, names
from fdfo.rewards.weighted import WeightedSum
from fdfo.shapes.render import render
from fdfo.shapes.scene import IMAGE_SIZE, Object, Scene

SIDE = 512
"""Pixels of the pictures; scores of the shapes world get its own size."""
TIMED_IMAGES = 16
CHECK_PATIENCE_S = 5.0
"""How long a check waits for a server that does not answer."""
_SOURCES = re.compile(r"(.*_)?model|processor|tokenizer|head|base|url")
"""Options of scores that say where their networks, and what goes with them, come from."""
UNDRAWN = {
    "detect": "the drawn pictures cannot be judged: it looks for everyday objects, by GenEval's metadata of a prompt; "
    "judge images of a model, with `fdfo eval --model MODEL --prompts geneval --rewards detect`"
}
"""Scores for which there are no pictures here, and what to do instead."""


def _drawn(shape: str, color: str, x: float, y: float, radius: float = 5.0) -> Object:
    return Object(shape=shape, color=color, x=x, y=y, radius=radius)


SCENES = {
    "a big red circle": [_drawn("circle", "red", 16, 16, 8)],
    "a blue square": [_drawn("square", "blue", 14, 18, 7)],
    "three green triangles": [_drawn("triangle", "green", x, y) for x, y in ((8, 9), (24, 10), (15, 24))],
    "a yellow cross left of a purple circle": [_drawn("cross", "yellow", 8, 16), _drawn("circle", "purple", 24, 16)],
}
"""Captions, and pictures that match them."""
WORDS = {f'a sign that says "{word}"': word for word in ("OPEN", "BAKERY", "Route 66", "hello")}
"""Captions for scores that read."""


def run_list() -> None:
    """Print a line for every score and preset."""
    for name in names("rewards"):
        documented = find("rewards", name).__doc__ or ""
        say(f"{name:<20} {documented.strip().splitlines()[0] if documented.strip() else ''}")
    for name, parts in PRESETS.items():
        say(f"{name:<20} = " + " + ".join(_in_words(part) for part in parts))


def run_check(name: str, options: list[str], device_name: str | None) -> None:
    """Print what one score, or every score of a preset, makes of the pictures.

    Raises FdfoError when one cannot be used.
    """
    device = chosen_device(device_name)
    for entry in named_score(name, options):
        with memory_explained():
            _check(_impatient(entry), device)


def _impatient(entry: RewardConfig) -> RewardConfig:
    """The entry with a short patience for a server that is away, unless its options say how long to wait."""
    waits = entry.name in names("rewards") and "patience_s" in signature(find("rewards", entry.name)).parameters
    return entry.model_copy(update={"patience_s": CHECK_PATIENCE_S, **entry.options}) if waits else entry


def _check(entry: RewardConfig, device: torch.device) -> None:
    reward = WeightedSum([entry])
    say(f"{entry.title}\n  {_sources(entry)}")
    begun = time.perf_counter()
    reward.load(device, torch.float32)
    say(f"  loaded in {time.perf_counter() - begun:.1f} s on {device}")
    if entry.name == "ocr":
        captions, images = list(WORDS), written_pictures().to(device)
    else:
        side = IMAGE_SIZE if entry.name.startswith("shapes-") else SIDE
        captions, images = list(SCENES), drawn_pictures(side).to(device)
    if entry.name in UNDRAWN:
        say(f"  {UNDRAWN[entry.name]}")
    else:
        _print_table(captions, torch.stack([_scores(reward, images, [text] * len(images)) for text in captions]))
    say(f"  {_speed(reward, images, captions)}; {_memory(device)}\n")


def _print_table(captions: list[str], table: Tensor) -> None:
    """Row i are the scores [B] of all pictures for caption i."""
    width = max(map(len, captions))
    say(f"  {'caption':<{width}}   scores of the pictures of each caption, in this order")
    for i, caption in enumerate(captions):
        row = "  ".join(f"{value:>8.4g}{'*' if i == j else ' '}" for j, value in enumerate(table[i].tolist()))
        say(f"  {caption:<{width}} {row}")
    say(f"  {verdict(table)}")


def drawn_pictures(side: int) -> Tensor:
    """The pictures of `SCENES`: [B, 3, side, side] in [0, 1]."""
    drawn = np.stack([render(Scene(objects=tuple(objects))) for objects in SCENES.values()])
    return interpolate(torch.from_numpy(drawn), (side, side), mode="bilinear", antialias=True)


def written_pictures() -> Tensor:
    """The words of `WORDS`, black on white: [B, 3, SIDE, SIDE] in [0, 1]."""
    pictures = []
    for word in WORDS.values():
        picture = Image.new("RGB", (SIDE, SIDE), "white")
        ImageDraw.Draw(picture).text((40, 200), word, "black", ImageFont.load_default(80))
        pictures.append(torch.from_numpy(np.array(picture)))
    return torch.stack(pictures).permute(0, 3, 1, 2).float() / 255


def verdict(table: Tensor) -> str:
    """Say whether right pictures outrank wrong ones; row i has the scores [B] of all pictures for caption i."""
    if not bool(table.isfinite().all()):
        return f"{int((~table.isfinite()).sum())} of {table.numel()} could not be judged: NaN (does it need metadata?)"
    if bool((table == table[0]).all()):
        return "it does not read the caption: there is no right or wrong picture"
    right = table.diagonal().unsqueeze(1)
    wrong = table[~torch.eye(len(table), dtype=torch.bool)].unflatten(0, (len(table), -1))
    won = int((right > wrong).sum())
    return f"the right picture (*) outranks {won} of {wrong.numel()} wrong ones; by chance it would half of them"


def _scores(reward: WeightedSum, images: Tensor, captions: list[str]) -> Tensor:
    with torch.no_grad():
        components = reward.components(images, captions, [{}] * len(images), group_size=len(SCENES))
        return reward.total(components).cpu()


def _speed(reward: WeightedSum, images: Tensor, captions: list[str]) -> str:
    times = TIMED_IMAGES // len(images)
    begun = time.perf_counter()
    _scores(reward, images.repeat(times, 1, 1, 1), [caption for caption in captions for _ in images][:TIMED_IMAGES])
    return f"{TIMED_IMAGES / (time.perf_counter() - begun):.3g} images/s at {images.shape[-2]} x {images.shape[-1]}"


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"peak of {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of device memory"
    return f"peak of {peak_memory_gib():.2f} GiB of host memory in all"


def _in_words(part: dict[str, Any]) -> str:
    options = ", ".join(f"{key}={value}" for key, value in part.items() if key not in ("name", "weight"))
    return (f"{part['weight']} " if "weight" in part else "") + part["name"] + (f" ({options})" if options else "")


def _sources(entry: RewardConfig) -> str:
    """Where the networks of a score come from, with their licences, a line each."""
    found = find("rewards", entry.name)
    accepted = signature(found).parameters if isclass(found) else {}
    named = [key for key in accepted if _SOURCES.fullmatch(key)]
    places = {key: entry.options.get(key, accepted[key].default) for key in named}
    lines = [
        f"{key} {place}" + ("" if key == "url" else f", licence {licence_of(place)}")
        for key, place in places.items()
        if place not in (None, Parameter.empty)
    ]
    return "\n  ".join(lines) or "no model to fetch"
