"""The captioned pictures of pre-training, made in shards that survive an interruption.

N pictures, L tokens.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fdfo.shapes.grammar import caption, parse
from fdfo.shapes.pretrain.components import token_ids
from fdfo.shapes.pretrain.mistakes import bad_picture, wrong_spec
from fdfo.shapes.pretrain.progress import Progress
from fdfo.shapes.pretrain.settings import Settings, stream_seed
from fdfo.shapes.pretrain.store import read, read_number, write
from fdfo.shapes.pretrain.tokenizer import clip_tokenizer
from fdfo.shapes.render import Array, render
from fdfo.shapes.sampling import sample_scene
from fdfo.shapes.scene import Spec
from fdfo.shapes.splits import captions

SHARD = 5_000
CATEGORY_WEIGHTS = {"single": 1.0, "two": 1.5, "counting": 1.25, "colors": 0.75, "position": 2.0, "attribute": 1.5}
"""Harder categories more often."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures [N, 3, H, W] uint8 and the token ids of their captions [N, L] int64."""

    images: Tensor
    ids: Tensor

    def batch(self, rows: Tensor) -> Tensor:
        """The pictures of `rows` as float32 in [0, 1]."""
        return self.images[rows].float() / 255


def random_spec(rng: np.random.Generator) -> Spec:
    """The meaning of a random training caption, with `CATEGORY_WEIGHTS`."""
    weights = np.array(list(CATEGORY_WEIGHTS.values()))
    name = list(CATEGORY_WEIGHTS)[rng.choice(len(weights), p=weights / weights.sum())]
    texts = captions("train", name)
    return parse(texts[rng.integers(len(texts))].text)


def captioned_picture(settings: Settings, rng: np.random.Generator) -> tuple[Array, str]:
    """One picture [3, H, W] and its caption; either may be at fault, as `settings` says, but not both."""
    spec = random_spec(rng)
    if rng.random() < settings.bad_pictures:
        return bad_picture(spec, rng, settings.size.magnification), caption(spec)
    image = render(sample_scene(spec, rng), rng, settings.size.magnification)
    if rng.random() < settings.wrong_captions:
        spec = wrong_spec(spec, rng)
    return image, caption(spec)


def make_pictures(settings: Settings, work: Path, progress: Progress) -> tuple[Pictures, float]:
    """All pictures of the run, made or read back shard by shard from `work`, and the seconds it took to make them."""
    shards, seconds = [], 0.0
    with progress.task("pictures", settings.pictures) as advance:
        for start in range(0, settings.pictures, SHARD):
            path = work / f"pictures-{start:07d}.safetensors"
            found = read(path, settings.fingerprint("pictures"))
            if found is None:
                began = time.monotonic()
                found = _make_shard(settings, start, min(SHARD, settings.pictures - start))
                write(path, found, settings.fingerprint("pictures"), seconds=time.monotonic() - began)
            seconds += read_number(path, "seconds")
            shards.append(found)
            advance(len(found["images"]))
    pictures = Pictures(
        images=torch.cat([shard["images"] for shard in shards]),
        ids=torch.cat([shard["ids"] for shard in shards]).long(),
    )
    return pictures, seconds


def _make_shard(settings: Settings, start: int, count: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(stream_seed("pictures", settings.seed, start))
    images, texts = zip(*(captioned_picture(settings, rng) for _ in range(count)), strict=True)
    pixels = np.round(np.stack(images) * 255).astype(np.uint8)
    return {"images": torch.from_numpy(pixels), "ids": token_ids(clip_tokenizer(), texts).to(torch.uint8)}
