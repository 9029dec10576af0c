"""Families of pipelines: a line each, of what cannot be found out by asking the pipeline itself (models/asking.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fdfo.errors import ModelError
from fdfo.flow.guidance import guided, renormed, renormed_down
from fdfo.models.layouts import (
    CHANNELS_LAST,
    ONE_FRAME,
    PATCHES,
    SPATIAL,
    TOKENS,
    TOKENS_BY_FOUR,
    Layout,
    first_channels,
    from_rows_of_frames,
    last_tokens,
    rows_of_frames,
)
from fdfo.plugins import find, names

JOINT_ATTENTION = tuple(
    f"attn.{name}"
    for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
)
"""Attention projections of both streams; the second attention of SD3.5-Medium (attn2) is not a target (reference)."""

FLUX2_ATTENTION = (*JOINT_ATTENTION, "attn.to_qkv_mlp_proj")
"""Single blocks project to queries, keys, values and their feed-forward layer at once."""

SEPARATE_ATTENTION = tuple(f"attn{i}.{name}" for i in (1, 2) for name in ("to_q", "to_k", "to_v", "to_out.0"))
"""Attention to the image itself, and to the text."""

ATTENTION = tuple(f"attention.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0"))


UNSHIFTED = {"shift_factor": 0.0}
"""Of decoders whose shift is not heeded."""


SELF_ATTENTION = tuple(f"self_attention.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0"))

ONE_ATTENTION = tuple(f"attn.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0"))
"""Of networks that project the text elsewhere, or as they project the image."""

KANDINSKY_ATTENTION = tuple(
    f"{kind}_attention.{name}" for kind in ("self", "cross") for name in ("to_query", "to_key", "to_value", "out_layer")
)

KANDINSKY_SIZES = ((1024, 1024), (1408, 640), (640, 1408), (1280, 768), (768, 1280), (1152, 896), (896, 1152))

PRX_ATTENTION = ("attention.img_qkv_proj", "attention.txt_kv_proj", "attention.to_out.0")
"""Queries, keys and values at once."""


def with_mask(call: dict[str, Any]) -> dict[str, Any]:
    """A call with a mask of its text: pipelines leave out one that lets all through, as some lengths have it."""
    text = call["encoder_hidden_states"]
    whole = torch.ones(text.shape[:2], dtype=torch.long, device=text.device)
    return {**call, "encoder_hidden_states_mask": call.get("encoder_hidden_states_mask", whole)}


@dataclass(frozen=True)
class Family:
    """What all pipelines of a class have in common."""

    targets: tuple[str, ...]
    """Suffixes of the modules that get adapters where nothing else is said: the attention's projections."""
    layout: Layout = SPATIAL
    """Of the latent in the pipeline's loop."""
    guide: Callable[[Tensor, Tensor, float], Tensor] = guided
    """Velocity of negative and positive ones and the scale, in that layout."""
    scale: str | None = "guidance_scale"
    """Argument of the pipeline's call that sets classifier-free guidance; None: it has none."""
    off: float = 1.0
    """The value that turns it off: 1, or 0 where the pipeline adds guidance (positive - negative) to the positive."""
    embedded: str | None = None
    """Argument of the call that sets the guidance which a distilled network reads as a number."""
    sign: int = 1
    """-1: the network gives data - noise."""
    positive_first: bool = False
    """Order of the branches in a doubled batch."""
    enter: Callable[[Tensor], Any] = lambda x: x
    """From the packed latents to what the network takes."""
    leave: Callable[[Any, Tensor], Tensor] = lambda v, states: v
    """From what the network gives, and the packed states that it was given for, to packed velocities."""
    decoder: Mapping[str, float] = field(default_factory=dict)
    """What the pipeline takes instead of its decoder's own configuration."""
    ragged: bool = False
    """Whether the length of what the network reads depends on the prompt."""
    dispensable: tuple[str, ...] = ()
    """Components of the T5 encoder where the pipeline can do without it."""
    note: str | None = None
    """What its own pipeline does by the number of the step, and is not done here: told at the start of a run."""
    pipeline: type | None = None
    """Its class, where diffusers has none of this name."""
    reads: int | None = None
    """Tokens of a prompt that it reads, where neither its call nor its tokenizer says."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of the call."""
    longest: str = "max_sequence_length"
    """Argument of the call that sets how many tokens of a prompt are read."""
    completed: Callable[[dict[str, Any]], dict[str, Any]] = lambda call: call
    """From the arguments of a call of the network to those that all prompts have."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(height, width) of all images that the pipeline draws, where it takes the nearest of a list."""
    needs: str | None = None
    """A package of Python that the pipeline cannot do without, and that diffusers does not bring."""
    needs_if: str | None = None
    """A key of the network's configuration that is false where it needs no such package."""


@dataclass(frozen=True)
class Wishes:
    """What is asked of a pipeline beside a prompt; None where its own is right."""

    resolution: tuple[int, int]
    guidance: float = 1.0
    negative_prompt: str = ""
    embedded_guidance: float | None = None
    text_tokens: int | None = None
    t5: bool = True
    quantize_text: str | None = None
    shift: float | None = None

    @property
    def branches(self) -> int:
        """Evaluations of a velocity."""
        return 1 if self.guidance == 1 else 2


FAMILIES: Mapping[str, Family] = {
    "StableDiffusion3Pipeline": Family(JOINT_ATTENTION, dispensable=("text_encoder_3", "tokenizer_3")),
    "Flux2KleinPipeline": Family(FLUX2_ATTENTION, TOKENS),
    "Flux2Pipeline": Family(FLUX2_ATTENTION, TOKENS, scale=None, embedded="guidance_scale"),
    "FluxPipeline": Family(JOINT_ATTENTION, PATCHES, scale="true_cfg_scale", embedded="guidance_scale"),
    "QwenImagePipeline": Family(
        JOINT_ATTENTION, PATCHES, renormed, "true_cfg_scale", embedded="guidance_scale", ragged=True
    ),
    "SanaPipeline": Family(SEPARATE_ATTENTION, leave=first_channels, options={"use_resolution_binning": False}),
    "Krea2Pipeline": Family(JOINT_ATTENTION, PATCHES, off=0.0),
    "ChromaPipeline": Family(JOINT_ATTENTION, PATCHES),
    "AuraFlowPipeline": Family(JOINT_ATTENTION, decoder=UNSHIFTED),
    "CogView4Pipeline": Family(SEPARATE_ATTENTION, decoder=UNSHIFTED),
    "BriaPipeline": Family(JOINT_ATTENTION, PATCHES),
    "ErnieImagePipeline": Family(
        SELF_ATTENTION, decoder={"batch_norm_eps": 1e-5}, ragged=True, options={"use_pe": False}
    ),
    "WanPipeline": Family(SEPARATE_ATTENTION, ONE_FRAME, options={"num_frames": 1}),
    "HunyuanImagePipeline": Family(
        JOINT_ATTENTION,
        scale=None,
        embedded="distilled_guidance_scale",
        note="its guidance changes from step to step, so none is used here",
        reads=1000,
    ),
    "BriaFiboPipeline": Family(JOINT_ATTENTION, TOKENS, ragged=True),
    "Lumina2Pipeline": Family(JOINT_ATTENTION, guide=renormed, sign=-1),
    "OvisImagePipeline": Family(JOINT_ATTENTION, PATCHES),
    "LongCatImagePipeline": Family(
        JOINT_ATTENTION, PATCHES, renormed_down, reads=512, options={"enable_prompt_rewrite": False}
    ),
    "NucleusMoEImagePipeline": Family(
        ONE_ATTENTION, PATCHES, renormed, sign=-1, ragged=True, completed=with_mask, reads=1024
    ),
    "QwenImage21Pipeline": Family(
        ONE_ATTENTION,
        TOKENS_BY_FOUR,
        scale="true_cfg_scale",
        leave=last_tokens,
        ragged=True,
        options={"use_kv_cache": False},
    ),
    "Kandinsky5T2IPipeline": Family(
        KANDINSKY_ATTENTION, CHANNELS_LAST, decoder=UNSHIFTED, ragged=True, sizes=KANDINSKY_SIZES
    ),
    "PRXPipeline": Family(
        PRX_ATTENTION, longest="tokenizer_max_length", needs="ftfy", options={"use_resolution_binning": False}
    ),
    "ZImagePipeline": Family(
        ATTENTION, off=0.0, sign=-1, positive_first=True, enter=rows_of_frames, leave=from_rows_of_frames, ragged=True
    ),
    "Flux3ModularPipeline": Family(
        ONE_ATTENTION,
        TOKENS,
        ragged=True,
        note="its prompt upsampler is left out: prompts are encoded as they are, so give long descriptions",
    ),
    "AnimaModularPipeline": Family(SEPARATE_ATTENTION, ONE_FRAME, needs="torchvision", needs_if="concat_padding_mask"),
}
"""By class of the pipeline; the entry-point group `fdfo.families` has more."""


TWO_NETWORKS = "its two branches of guidance are two networks"

REFUSED: Mapping[str, str] = {
    "Flux3DistilledModularPipeline": "its network is a flow map between two times, not a velocity",
    "Cosmos2TextToImagePipeline": "its licence asks for a guardrail at every image, and its path ends at noise of 80",
    "DreamLitePipeline": "its network is a U-Net, whose latents the pipeline does not take",
    "HiDreamImagePipeline": "its experts pass no gradient in evaluation mode, so training would go astray unseen",
    "GlmImagePipeline": "it samples a part of its conditioning anew for every image",
    "Ideogram4Pipeline": TWO_NETWORKS,
    "Ideogram4ModularPipeline": TWO_NETWORKS,
    "PRXPixelPipeline": "its network gives the image itself, not a velocity",
    "SanaSprintPipeline": "its network is a consistency model (TrigFlow), not a velocity",
}
"""Pipelines that no line could support, and why."""

FROM_IMAGES = ("ControlNet", "Edit", "Fill", "Img2Img", "Inpaint", "Kontext", "Layered")
"""In names of pipelines that need an image beside the prompt."""


def family_of(name: str, pipeline_class: str) -> Family:
    """The family of a pipeline class. Raises ModelError, about the model of this name, where there is none."""
    if pipeline_class in FAMILIES:
        return FAMILIES[pipeline_class]
    known = [*FAMILIES, *names("families")]
    if pipeline_class in known:
        return find("families", pipeline_class)
    reason = REFUSED.get(pipeline_class)
    if any(part in pipeline_class for part in FROM_IMAGES):
        reason = "an image is a part of its prompt"
    if reason is not None:
        raise ModelError(f"{name}: a {pipeline_class} cannot be trained here: {reason}; use another model")
    raise ModelError(
        f"{name}: it is a {pipeline_class}, which is not among the flow models known here: {', '.join(known)}; "
        "take one of these, or add a line for its family (docs/design.md)"
    )
