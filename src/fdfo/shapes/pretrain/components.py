"""The untrained networks of the pipeline and of the contrastive model, and how they are joined.

Sizes follow measurements on 2 CPU cores: patch 2 trains three times faster than patch 1 at these resolutions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    T5Config,
    T5EncoderModel,
)

from fdfo.shapes.pretrain.settings import Size
from fdfo.shapes.pretrain.tokenizer import BOS_ID, EOS_ID, MAX_TOKENS, clip_tokenizer, silent_tokenizer
from fdfo.shapes.scene import IMAGE_SIZE

LATENT_SIZE = 8
"""Elements a side of the latent of a picture with one pixel a unit."""
_TEXT_WIDTH = 64
_JOINT_WIDTH = 2 * _TEXT_WIDTH
T5_TOKENS = 1
"""Length of the T5 part of the text in training; the T5 slot answers with zeros."""


def build_vae(size: Size) -> AutoencoderKL:
    """Pictures to latents of a quarter of their side."""
    blocks: dict[str, Any] = {  # longer tuples than diffusers annotates
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (16, 32, 64),
    }
    return AutoencoderKL(
        **blocks,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=size.latent_channels,
        sample_size=IMAGE_SIZE * size.magnification,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        shift_factor=0.0,
    )


def posterior(vae: AutoencoderKL, images: Tensor) -> DiagonalGaussianDistribution:
    """Distribution of the latents of images [B, 3, H, W] in [-1, 1]."""
    output: Any = vae.encode(images)  # type: ignore[arg-type]
    return output.latent_dist


def rebuild(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Images [B, 3, H, W], about [-1, 1], of latents [B, C, h, w] at the scale of the autoencoder."""
    output: Any = vae.decode(latents)  # type: ignore[arg-type]
    return output.sample


class TextToVelocity(nn.Module):
    """The part of the pipeline that is trained jointly: transformer and both text encoders."""

    def __init__(self, size: Size):
        super().__init__()
        vocabulary = len(clip_tokenizer())
        side = LATENT_SIZE * size.magnification
        self.transformer = SD3Transformer2DModel(
            sample_size=side,
            patch_size=2,
            in_channels=size.latent_channels,
            out_channels=size.latent_channels,
            num_layers=size.layers,
            attention_head_dim=size.width // size.heads,
            num_attention_heads=size.heads,
            joint_attention_dim=_JOINT_WIDTH,
            caption_projection_dim=size.width,
            pooled_projection_dim=_JOINT_WIDTH,
            pos_embed_max_size=side // 2,
            qk_norm="rms_norm",
        )
        self.text_encoder = CLIPTextModelWithProjection(text_config(vocabulary))
        self.text_encoder_2 = CLIPTextModelWithProjection(text_config(vocabulary))

    def encode_text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids [B, L] to embeddings [B, L + T5_TOKENS, J] and pooled embeddings [B, J], as the pipeline does."""
        outputs = [encoder(ids, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)]
        tokens = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        zeros = tokens.new_zeros(len(ids), T5_TOKENS, _JOINT_WIDTH)
        return torch.cat([tokens, zeros], dim=1), torch.cat([output.text_embeds for output in outputs], dim=-1)

    def forward(self, x: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """Velocity [B, C, h, w] at latents x, times t [B] in [0, 1] and token ids [B, L]."""
        tokens, pooled = self.encode_text(ids)
        return self.transformer(
            hidden_states=x,
            timestep=1000 * t,
            encoder_hidden_states=tokens,
            pooled_projections=pooled,
            return_dict=False,
        )[0]


def text_config(vocabulary: int) -> CLIPTextConfig:
    """A two-layer CLIP text encoder. The end token must not be number 2, which transformers treats as a legacy case."""
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=EOS_ID,
    )


def build_contrastive() -> CLIPModel:
    """A small CLIP with 4x4 patches."""
    text = text_config(len(clip_tokenizer()))
    vision = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=192,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=IMAGE_SIZE,
        patch_size=4,
    )
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=64))


def build_pipeline(net: TextToVelocity, vae: AutoencoderKL, shift: float) -> StableDiffusion3Pipeline:
    """The complete pipeline around trained parts.

    Diffusers 0.42 loads a Stable Diffusion 3 folder without keyword arguments only when it holds a third text encoder.
    Ours is a one-layer T5 whose last normalisation is zero: it answers with the zeros that the pipeline
    itself takes when there is no T5, so `text_encoder_3=None, tokenizer_3=None` gives the same pictures.
    """
    t5 = T5EncoderModel(
        T5Config(vocab_size=2, d_model=_JOINT_WIDTH, d_kv=8, d_ff=8, num_layers=1, num_heads=1, pad_token_id=0)
    )
    for parameter in t5.parameters():
        nn.init.zeros_(parameter)
    return StableDiffusion3Pipeline(
        transformer=net.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=vae,
        text_encoder=net.text_encoder,
        tokenizer=clip_tokenizer(),
        text_encoder_2=net.text_encoder_2,
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5,
        tokenizer_3=silent_tokenizer(),
    )


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Padded token ids [B, MAX_TOKENS] int64, as the pipeline makes them."""
    batch = tokenizer(list(texts), padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return batch.input_ids
