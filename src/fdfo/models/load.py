"""Find a pipeline by name and make a policy of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fdfo.config.tree import AdapterConfig, AttentionKernel, PolicyConfig
from fdfo.errors import ModelError, nearest
from fdfo.hub import quiet_loading
from fdfo.models.source import EMBEDDED_TEXT_TOKENS, ModelSource, name_problem
from fdfo.plugins import find, names

if TYPE_CHECKING:
    from fdfo.models.sd3 import SD3Policy


def load_policy(
    path_or_name: str | Path,
    *,
    adapter: str | Path | AdapterConfig | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    text_tokens: int = 128,
    resolution: tuple[int, int] | None = None,
    guidance: float = 1.0,
    negative_prompt: str = "",
    revision: str | None = None,
    t5: bool = True,
    prompt_cache: str | Path | None = None,
    gradient_checkpointing: bool = False,
    attention: AttentionKernel = "auto",
    vae_tile: int | None = None,
    compile: bool = False,
    seed: int = 0,
) -> "SD3Policy":
    """Load a text-to-image flow pipeline as a policy.

    path_or_name is `shapes` (embedded), a local pipeline folder or a hub id. adapter is None (frozen), a checkpoint
    or PEFT adapter folder, or an AdapterConfig for new trainable weights, initialised from `seed`. device defaults to
    CUDA where there is one. dtype (float32) is that of the frozen network; velocities are float32 always. text_tokens
    is the length of the T5 sequence; the embedded model has its own. resolution is (height, width) in
    pixels and defaults to the model's own.

    Raises ModelError when the model or adapter cannot be found, read or used, with the fix.
    """
    source = ModelSource.find(str(path_or_name), revision)
    family = source.pipeline_class
    if family not in names("models"):
        raise ModelError(f"{path_or_name}: no policy for a {family}; {nearest(family, names('models'))}")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with quiet_loading():
        policy = find("models", family).from_source(
            source,
            device=where,
            dtype=dtype or torch.float32,
            text_tokens=EMBEDDED_TEXT_TOKENS if source.is_embedded else text_tokens,
            resolution=resolution,
            guidance=guidance,
            negative_prompt=negative_prompt,
            t5=t5,
            prompt_cache=None if prompt_cache is None else Path(prompt_cache).expanduser(),
        )
    if isinstance(adapter, AdapterConfig):
        policy.weights.attach(adapter, seed)
    elif adapter is not None:
        policy.weights.load(Path(adapter))
    policy.attend_by(attention)
    if vae_tile is not None:
        policy.decode_in_tiles(vae_tile)
    if gradient_checkpointing:
        policy.enable_checkpointing()
    if compile:
        policy.compile()
    return policy


def policy_from_config(config: PolicyConfig, *, seed: int, device: torch.device | str | None = None) -> "SD3Policy":
    """The trainable policy of a run."""
    return load_policy(
        config.name,
        adapter=config.adapter,
        device=device,
        dtype=getattr(torch, config.dtype),
        text_tokens=config.text_tokens,
        resolution=config.resolution,
        guidance=config.guidance,
        negative_prompt=config.negative_prompt,
        revision=config.revision,
        t5=config.t5,
        prompt_cache=config.prompt_cache,
        gradient_checkpointing=config.gradient_checkpointing,
        attention=config.attention,
        vae_tile=config.vae_tile,
        compile=config.compile,
        seed=seed,
    )


def policy_problems(config: PolicyConfig) -> list[str]:
    """What keeps a model from being used as asked, from its small configuration files alone.

    Raises ModelError for a model that cannot be found.
    """
    if problem := name_problem(config.name):
        return [f"policy.name={problem}"]
    family, source, resolution = _planned(config)
    return family.problems(source, resolution, config.vae_tile)


def side_problem(config: PolicyConfig, pixels: int) -> str | None:
    """What keeps a model from drawing images of so many pixels a side, from its small configuration files alone.

    Raises ModelError for a model that cannot be found.
    """
    family, source, _ = _planned(config)
    return family.side_problem(source, pixels)


def latent_shape(config: PolicyConfig) -> tuple[int, int, int]:
    """Shape (C, h, w) of the configured model's latents, before any weight is read. Raises ModelError."""
    family, source, resolution = _planned(config)
    return family.latent_shape_of(source, resolution)


def _planned(config: PolicyConfig) -> tuple[Any, ModelSource, tuple[int, int]]:
    """The policy class, the source of its weights, and the height and width of its images."""
    source = ModelSource.find(config.name, config.revision)
    with quiet_loading():
        family = find("models", source.pipeline_class)
    return family, source, config.resolution or family.native_resolution(source)
