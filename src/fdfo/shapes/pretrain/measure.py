"""What the pre-trained models can do, by category."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from torch import Tensor
from transformers import CLIPModel

from fdfo.shapes.grammar import caption, parse
from fdfo.shapes.pretrain.components import T5_TOKENS, posterior, rebuild, token_ids
from fdfo.shapes.pretrain.mistakes import wrong_spec
from fdfo.shapes.pretrain.settings import stream_seed
from fdfo.shapes.pretrain.tokenizer import clip_tokenizer
from fdfo.shapes.render import render
from fdfo.shapes.sampling import sample_scene
from fdfo.shapes.scene import CATEGORIES
from fdfo.shapes.splits import Caption, interleaved
from fdfo.shapes.verifier import judge

_BATCH = 60


@dataclass(frozen=True, kw_only=True)
class Score:
    """Mean verdicts by category, and over all pictures under "all"."""

    graded: dict[str, float]
    passed: dict[str, float]


def draw(pipeline: StableDiffusion3Pipeline, texts: list[str], *, guidance: float, steps: int, seed: int) -> Tensor:
    """Pictures [B, 3, H, W] float32 in [0, 1], one a text; picture i depends on (seed, i) alone."""
    channels, size = pipeline.transformer.config.in_channels, pipeline.transformer.config.sample_size
    noise = [
        torch.randn(channels, size, size, generator=torch.Generator().manual_seed(stream_seed("draw", seed, i)))
        for i in range(len(texts))
    ]
    pictures = []
    for start in range(0, len(texts), _BATCH):
        output: Any = pipeline(
            prompt=texts[start : start + _BATCH],
            latents=torch.stack(noise[start : start + _BATCH]).to(pipeline.device),  # type: ignore[arg-type]
            guidance_scale=guidance,
            num_inference_steps=steps,
            max_sequence_length=T5_TOKENS,
            output_type="pt",
        )
        pictures.append(output.images.float().cpu())
    return torch.cat(pictures)


def score_pipeline(
    pipeline: StableDiffusion3Pipeline, *, split: str, pictures: int, guidance: float, steps: int, seed: int
) -> Score:
    """Verdicts on `pictures` samples for the captions of a split, the categories in turn."""
    items = interleaved(split, pictures)
    images = draw(pipeline, [item.text for item in items], guidance=guidance, steps=steps, seed=seed)
    return _score(items, images)


@torch.no_grad()
def score_reconstructions(vae: AutoencoderKL, *, split: str, pictures: int, seed: int, magnification: int = 1) -> Score:
    """Verdicts on true pictures after one pass through the autoencoder."""
    items = interleaved(split, pictures)
    rng = np.random.default_rng(stream_seed("reconstructions", seed))
    true = np.stack([render(sample_scene(parse(item.text), rng), rng, magnification) for item in items])
    latents = posterior(vae, torch.from_numpy(true).to(vae.device) * 2 - 1).mean
    return _score(items, (rebuild(vae, latents).cpu() / 2 + 0.5).clamp(0, 1))


@torch.no_grad()
def contrastive_accuracy(model: CLIPModel, *, split: str, pictures: int, seed: int) -> dict[str, float]:
    """How often the model prefers the true caption of a true picture to one with a mistake, by category and in all."""
    items = interleaved(split, pictures)
    rng = np.random.default_rng(stream_seed("contrastive accuracy", seed))
    specs = [parse(item.text) for item in items]
    images = torch.from_numpy(np.stack([render(sample_scene(spec, rng), rng) for spec in specs]))
    texts = [caption(spec) for spec in specs] + [caption(wrong_spec(spec, rng)) for spec in specs]
    ids = token_ids(clip_tokenizer(), texts).to(model.device)
    logits = model(input_ids=ids, pixel_values=((images - 0.5) / 0.5).to(model.device)).logits_per_image.cpu()
    own = torch.arange(len(items))
    return _by_category(items, (logits[own, own] > logits[own, own + len(items)]).float().tolist())


def _score(items: list[Caption], images: Tensor) -> Score:
    verdicts = [judge(image, item.text) for item, image in zip(items, images.numpy(), strict=True)]
    return Score(
        graded=_by_category(items, [verdict.graded if verdict else float("nan") for verdict in verdicts]),
        passed=_by_category(items, [float(verdict.passed) if verdict else 0.0 for verdict in verdicts]),
    )


def _by_category(items: list[Caption], values: list[float]) -> dict[str, float]:
    means = {"all": float(np.mean(values))}
    for name in CATEGORIES:
        means[name] = float(np.mean([v for item, v in zip(items, values, strict=True) if item.category == name]))
    return means
