"""What a network is given for one row, before any prompt was encoded: the right shapes on the meta device."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from fdfo.errors import ModelError
from fdfo.models.outline import Outline
from fdfo.models.source import EMBEDDED_TEXT_TOKENS

T5_TOKENS = 256
"""Longest text that StableDiffusion3Pipeline gives T5 by itself."""


def network_inputs(
    outline: Outline, text_tokens: int | None, resolution: tuple[int, int], dtype: torch.dtype
) -> dict[str, Any]:
    """Arguments of one row for images of (height, width), without content.

    Raises ModelError for a family whose shapes are not known here.
    """
    if outline.source.pipeline_class not in CONDITIONS:
        raise ModelError(
            f"{outline.source.name}: what a {outline.source.pipeline_class} gives its network is not known before "
            "it is loaded, so its memory cannot be planned; give train.micro_batch and train.sample_batch"
        )
    tokens = EMBEDDED_TEXT_TOKENS if outline.source.is_embedded else text_tokens
    with torch.device("meta"):
        states = outline.family.layout.pack(torch.empty(1, *outline.latent_shape(resolution), dtype=dtype))
        shapes = CONDITIONS[outline.source.pipeline_class](outline, tokens)
        return {
            "hidden_states": states,
            "timestep": torch.empty(1),
            **{name: torch.empty(1, *shape, dtype=dtype) for name, shape in shapes.items()},
            "return_dict": False,
        }


def _stable_diffusion_3(outline: Outline, text_tokens: int | None) -> dict[str, tuple[int, ...]]:
    clip = int(outline.source.component_config("text_encoder")["max_position_embeddings"])
    tokens = clip + (T5_TOKENS if text_tokens is None else text_tokens)
    return {
        "encoder_hidden_states": (tokens, outline.network["joint_attention_dim"]),
        "pooled_projections": (outline.network["pooled_projection_dim"],),
    }


CONDITIONS: Mapping[str, Callable[[Outline, int | None], Mapping[str, tuple[int, ...]]]] = {
    "StableDiffusion3Pipeline": _stable_diffusion_3,
}
"""Shapes of a row's arguments beside states and time, by class of the pipeline."""
