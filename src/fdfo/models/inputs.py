"""What a network is given for one row, before any prompt was encoded: the right shapes on the meta device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fdfo.errors import ModelError
from fdfo.models.outline import Outline
from fdfo.models.source import EMBEDDED_TEXT_TOKENS

T5_TOKENS = 256
"""Longest text that StableDiffusion3Pipeline gives T5 by itself."""

PADDED_TOKENS = 512
"""Length to which the pipelines of FLUX and Krea 2 pad all texts by themselves (FLUX.1-schnell asks for 256)."""

SANA_TOKENS, PRX_TOKENS, OVIS_TOKENS = 300, 256, 256
"""Likewise."""

FLUX3_WINDOW = 80
"""Of whose multiples FLUX.3 reads texts."""

USUAL_TOKENS = 128
"""Tokens of a long prompt of people, where the length is the prompt's own."""


@dataclass(frozen=True)
class _Row:
    """What the arguments of one row depend on."""

    outline: Outline
    text_tokens: int | None
    latent: tuple[int, int, int]
    dtype: torch.dtype

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(1, *shape, dtype=self.dtype)

    @property
    def states(self) -> Tensor:
        return self.outline.family.layout.pack(self.empty(*self.latent))

    def text(self, usual: int, width: str) -> Tensor:
        """Texts padded to one length, `usual` for the pipeline, as wide as the network's configuration says."""
        return self.empty(self.text_tokens or usual, self.outline.network[width])

    @property
    def guidance(self) -> Tensor | None:
        return torch.empty(1) if self.outline.embeds_guidance else None


def knows_inputs(pipeline_class: str) -> bool:
    """Whether `network_inputs` has what pipelines of a class give their network."""
    return pipeline_class in INPUTS


def network_inputs(
    outline: Outline, text_tokens: int | None, resolution: tuple[int, int], dtype: torch.dtype
) -> dict[str, Any]:
    """Arguments of one row for images of (height, width), without content.

    Raises ModelError for a family whose shapes are not known here.
    """
    known = INPUTS.get(outline.source.pipeline_class)
    if known is None:
        raise ModelError(
            f"{outline.source.name}: what a {outline.source.pipeline_class} gives its network is not known before "
            "a prompt is encoded: a run measures it then, and chooses its batches; there is no plan before"
        )
    tokens = EMBEDDED_TEXT_TOKENS if outline.source.is_embedded else text_tokens
    with torch.device("meta"):
        return {**known(_Row(outline, tokens, outline.latent_shape(resolution), dtype)), "return_dict": False}


def _stable_diffusion_3(row: _Row) -> dict[str, Any]:
    clip, network = row.outline.source.component_config("text_encoder"), row.outline.network
    tokens = clip["max_position_embeddings"] + (T5_TOKENS if row.text_tokens is None else row.text_tokens)
    return {
        "hidden_states": row.states,
        "timestep": torch.empty(1),
        "encoder_hidden_states": row.empty(tokens, network["joint_attention_dim"]),
        "pooled_projections": row.empty(network["pooled_projection_dim"]),
    }


def _flux1(row: _Row) -> dict[str, Any]:
    pooled = row.empty(row.outline.network["pooled_projection_dim"])
    return {**_flux(row, lambda tokens: (tokens, 3)), "pooled_projections": pooled}


def _flux2(row: _Row) -> dict[str, Any]:
    return _flux(row, lambda tokens: (1, tokens, 4))


def _flux(row: _Row, places: Callable[[int], tuple[int, ...]]) -> dict[str, Any]:
    """`places` gives the shape of the positions of so many tokens."""
    states, text = row.states, row.text(PADDED_TOKENS, "joint_attention_dim")
    return {
        "hidden_states": states,
        "timestep": torch.empty(1),
        "guidance": row.guidance,
        "encoder_hidden_states": text,
        "txt_ids": torch.empty(places(text.shape[1])),
        "img_ids": torch.empty(places(states.shape[1])),
    }


def _z_image(row: _Row) -> dict[str, Any]:
    text = torch.empty(USUAL_TOKENS, row.outline.network["cap_feat_dim"], dtype=row.dtype)
    return {"x": row.outline.family.enter(row.states), "t": torch.empty(1), "cap_feats": [text]}


def _qwen_image(row: _Row) -> dict[str, Any]:
    return {
        "hidden_states": row.states,
        "timestep": torch.empty(1),
        "encoder_hidden_states": row.empty(USUAL_TOKENS, row.outline.network["joint_attention_dim"]),
        "img_shapes": [[(1, row.latent[1] // 2, row.latent[2] // 2)]],
    }


def _sana(row: _Row) -> dict[str, Any]:
    text = row.text(SANA_TOKENS, "caption_channels")
    return {
        "hidden_states": row.states,
        "encoder_hidden_states": text,
        "timestep": torch.empty(1),
        "encoder_attention_mask": _mask(text),
    }


def _prx(row: _Row) -> dict[str, Any]:
    text = row.text(PRX_TOKENS, "context_in_dim")
    return {
        "hidden_states": row.states,
        "timestep": torch.empty(1),
        "encoder_hidden_states": text,
        "attention_mask": _mask(text),
    }


def _chroma(row: _Row) -> dict[str, Any]:
    plain = _ovis(row, PADDED_TOKENS)
    tokens = len(plain["txt_ids"]) + len(plain["img_ids"])
    return {**plain, "attention_mask": torch.empty(1, tokens)}


def _ovis(row: _Row, tokens: int = OVIS_TOKENS) -> dict[str, Any]:
    states, text = row.states, row.text(tokens, "joint_attention_dim")
    return {
        "hidden_states": states,
        "timestep": torch.empty(1),
        "encoder_hidden_states": text,
        "txt_ids": torch.empty(text.shape[1], 3),
        "img_ids": torch.empty(states.shape[1], 3),
    }


def _long_cat(row: _Row) -> dict[str, Any]:
    return _ovis(row, PADDED_TOKENS)


def _wan(row: _Row) -> dict[str, Any]:
    text = row.text(PADDED_TOKENS, "text_dim")
    return {"hidden_states": row.states, "timestep": torch.empty(1), "encoder_hidden_states": text}


def _krea2(row: _Row) -> dict[str, Any]:
    tokens, network = row.text_tokens or PADDED_TOKENS, row.outline.network
    states, text = row.states, row.empty(tokens, network["num_text_layers"], network["text_hidden_dim"])
    return {
        "hidden_states": states,
        "encoder_hidden_states": text,
        "timestep": torch.empty(1),
        "position_ids": torch.empty(tokens + states.shape[1], 3),
        "encoder_attention_mask": _mask(text),
    }


def _flux3(row: _Row) -> dict[str, Any]:
    windows = -(-USUAL_TOKENS // FLUX3_WINDOW)
    states, tokens = row.states, min(FLUX3_WINDOW * windows, row.text_tokens or FLUX3_WINDOW * windows)
    return {
        "hidden_states": states,
        "encoder_hidden_states": row.empty(tokens, row.outline.network["joint_attention_dim"]),
        "timestep": torch.empty(1),
        "img_ids": torch.empty(states.shape[1], 4),
        "txt_ids": torch.empty(tokens, 4),
    }


def _anima(row: _Row) -> dict[str, Any]:
    (_, height, width), factor = row.latent, row.outline.factor
    tokens = row.outline.source.component_config("text_conditioner")["min_sequence_length"]
    return {
        "hidden_states": row.states,
        "timestep": torch.empty(1),
        "encoder_hidden_states": row.empty(tokens, row.outline.network["text_embed_dim"]),
        "padding_mask": row.empty(1, height * factor, width * factor),
    }


def _mask(text: Tensor) -> Tensor:
    """Which tokens of a text are there."""
    return torch.empty(text.shape[:2], dtype=torch.bool)


INPUTS: Mapping[str, Callable[[_Row], dict[str, Any]]] = {
    "StableDiffusion3Pipeline": _stable_diffusion_3,
    "FluxPipeline": _flux1,
    "Flux2KleinPipeline": _flux2,
    "Flux2Pipeline": _flux2,
    "ZImagePipeline": _z_image,
    "QwenImagePipeline": _qwen_image,
    "SanaPipeline": _sana,
    "PRXPipeline": _prx,
    "Krea2Pipeline": _krea2,
    "ChromaPipeline": _chroma,
    "OvisImagePipeline": _ovis,
    "LongCatImagePipeline": _long_cat,
    "WanPipeline": _wan,
    "Flux3ModularPipeline": _flux3,
    "AnimaModularPipeline": _anima,
}
"""Arguments of one row by class of the pipeline."""
