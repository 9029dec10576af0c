"""The three things that are trained: the autoencoder, the flow with its text encoders, the contrastive model.

B pictures of H = W pixels, latents of C channels and h = w = H / 4, L tokens.
"""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from fdfo.shapes.grammar import caption
from fdfo.shapes.pretrain.components import (
    TextToVelocity,
    build_contrastive,
    build_vae,
    posterior,
    rebuild,
    token_ids,
)
from fdfo.shapes.pretrain.data import Pictures, random_spec
from fdfo.shapes.pretrain.loop import train_stage
from fdfo.shapes.pretrain.mistakes import wrong_spec
from fdfo.shapes.pretrain.progress import Progress
from fdfo.shapes.pretrain.settings import Settings, stream_seed
from fdfo.shapes.pretrain.store import read, write
from fdfo.shapes.pretrain.tokenizer import clip_tokenizer
from fdfo.shapes.render import render
from fdfo.shapes.sampling import sample_scene, satisfies

LOGIT_NORMAL_MEAN = 0.3
UNIFORM_TIMES = 0.2


def train_vae(
    settings: Settings, pictures: Pictures, work: Path, device: torch.device, progress: Progress
) -> tuple[AutoencoderKL, float]:
    """The autoencoder and the seconds it took; its config scales the latents to zero mean and unit variance."""
    torch.manual_seed(stream_seed("vae weights", settings.seed))
    vae = build_vae(settings.size)
    vae.to(device)  # type: ignore[arg-type]

    def loss_at(step: int) -> Tensor:
        rng = _generator("vae", settings.seed, step)
        rows = torch.randint(len(pictures.images), (settings.vae.batch,), generator=rng)
        images = pictures.batch(rows).to(device) * 2 - 1
        latents = posterior(vae, images)
        noise = torch.randn(latents.mean.shape, generator=rng).to(device)
        rebuilt = rebuild(vae, latents.mean + latents.std * noise)
        return functional.mse_loss(rebuilt, images) + settings.kl_weight * latents.kl().mean() / noise[0].numel()

    seconds = train_stage(
        "autoencoder",
        vae,
        loss_at,
        settings.vae,
        work=work,
        fingerprint=settings.fingerprint("autoencoder"),
        progress=progress,
    )
    sample = encode(vae, pictures, device, count=2000)
    vae.register_to_config(scaling_factor=1 / float(sample.std()), shift_factor=float(sample.mean()))
    return vae, seconds


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: Pictures, device: torch.device, count: int | None = None) -> Tensor:
    """Posterior means of the first `count` pictures, at the scale of the autoencoder: [N, C, h, w] on the CPU."""
    rows = torch.arange(len(pictures.images) if count is None else min(count, len(pictures.images)))
    batches = (pictures.batch(part).to(device) * 2 - 1 for part in rows.split(250))
    return torch.cat([posterior(vae, batch).mean.cpu() for batch in batches])


def _scaled_latents(
    settings: Settings, pictures: Pictures, vae: AutoencoderKL, work: Path, device: torch.device
) -> Tensor:
    """Latents of all pictures at network scale, made or read back from `work`: [N, C, h, w] on the CPU."""
    path, fingerprint = work / "latents.safetensors", settings.fingerprint("autoencoder")
    found = read(path, fingerprint)
    if found is None:
        shift, scale = vae.config["shift_factor"], vae.config["scaling_factor"]
        found = {"latents": (encode(vae, pictures, device) - shift) * scale}
        write(path, found, fingerprint)
    return found["latents"]


def train_flow(
    settings: Settings,
    pictures: Pictures,
    vae: AutoencoderKL,
    work: Path,
    device: torch.device,
    progress: Progress,
) -> tuple[TextToVelocity, float]:
    """Transformer and text encoders trained to predict eps - x0 at x = (1 - t) x0 + t eps, and the seconds it took."""
    torch.manual_seed(stream_seed("flow weights", settings.seed))
    net = TextToVelocity(settings.size).to(device)
    latents = _scaled_latents(settings, pictures, vae, work, device)
    empty = token_ids(clip_tokenizer(), [""])
    size = settings.flow.batch

    def loss_at(step: int) -> Tensor:
        rng = _generator("flow", settings.seed, step)
        rows = torch.randint(len(latents), (size,), generator=rng)
        x0 = latents[rows]
        eps = torch.randn(x0.shape, generator=rng)
        t = sample_times(size, rng, settings.size.shift)
        dropped = torch.rand(size, generator=rng) < settings.caption_dropout
        ids = torch.where(dropped[:, None], empty, pictures.ids[rows])
        at = t[:, None, None, None]
        x = (1 - at) * x0 + at * eps
        velocity = net(x.to(device), t.to(device), ids.to(device))
        return functional.mse_loss(velocity, (eps - x0).to(device))

    seconds = train_stage(
        "flow",
        net,
        loss_at,
        settings.flow,
        work=work,
        fingerprint=settings.fingerprint("flow"),
        progress=progress,
    )
    return net, seconds


def sample_times(count: int, rng: torch.Generator, shift: float = 1.0) -> Tensor:
    """Training times [count]: mostly logit-normal with a mean towards the noise, some uniform.

    A shift moves the logit by its logarithm, as it moves the scheduler's times.
    """
    logit_normal = torch.sigmoid(LOGIT_NORMAL_MEAN + math.log(shift) + torch.randn(count, generator=rng))
    uniform = torch.rand(count, generator=rng)
    return torch.where(torch.rand(count, generator=rng) < UNIFORM_TIMES, uniform, logit_normal)


def train_contrastive(
    settings: Settings, work: Path, device: torch.device, progress: Progress
) -> tuple[CLIPModel, float]:
    """The contrastive model, trained on true pictures and captions of the training split, and the seconds it took."""
    torch.manual_seed(stream_seed("contrastive weights", settings.seed))
    model = build_contrastive()
    model.to(device)  # type: ignore[arg-type]
    tokenizer = clip_tokenizer()

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng(stream_seed("contrastive", settings.seed, step))
        images, texts, also_true = contrastive_batch(settings.contrastive.batch, rng)
        output = model(input_ids=token_ids(tokenizer, texts).to(device), pixel_values=((images - 0.5) / 0.5).to(device))
        return info_nce(output.logits_per_image, also_true.to(device))

    seconds = train_stage(
        "contrastive",
        model,
        loss_at,
        settings.contrastive,
        work=work,
        fingerprint=settings.fingerprint("contrastive"),
        progress=progress,
    )
    return model, seconds


def contrastive_batch(count: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
    """True pictures [B, 3, H, W], 2 B captions (each picture's own, then one with a mistake for each), and which
    captions other than its own are true of a picture as well [B, 2 B]."""
    specs = [random_spec(rng) for _ in range(count)]
    scenes = [sample_scene(spec, rng) for spec in specs]
    images = torch.from_numpy(np.stack([render(scene, rng) for scene in scenes]))
    specs += [wrong_spec(spec, rng) for spec in specs]
    true = torch.tensor([[satisfies(scene, spec) for spec in specs] for scene in scenes])
    true[torch.arange(count), torch.arange(count)] = False
    return images, [caption(spec) for spec in specs], true


def info_nce(logits: Tensor, also_true: Tensor) -> Tensor:
    """Symmetric InfoNCE (arXiv:2103.00020) on logits [B, 2 B] whose second half are extra wrong captions.

    Captions that happen to be true of another picture are left out of its comparison.
    """
    count = len(logits)
    logits = logits.masked_fill(also_true, float("-inf"))
    own = torch.arange(count, device=logits.device)
    by_image = functional.cross_entropy(logits, own)
    by_text = functional.cross_entropy(logits[:, :count].T, own)
    return (by_image + by_text) / 2


def _generator(*key: object) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(*key))
