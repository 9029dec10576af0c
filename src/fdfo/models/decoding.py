"""Decoders: how large their images are and what they make of latents, by what their own configuration says.

B samples, [C, h, w] latent at network scale, [H, W] pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ALONE_PIXELS = 256 * 256
"""From this size on, CPUs decode one image at a time: they convolve several in another way, with errors up to 1e-3.
Of smaller images, together is faster, and errors are of 1e-6."""
TILE_PARTS = 4
"""Tiles overlap by a quarter, which has to be whole latent elements."""


def vae_factor(config: Mapping[str, Any]) -> int:
    """Pixels per element of a decoder's own latents, along each side, from its `config.json`."""
    if "scale_factor_spatial" in config and config["scale_factor_spatial"] is not None:
        return int(config["scale_factor_spatial"])
    if "spatial_compression_ratio" in config:
        return int(config["spatial_compression_ratio"])
    if "dim_mult" in config:  # video decoders
        return 2 ** len(config.get("temporal_downsample", config.get("temperal_downsample")))
    blocks = config.get("block_out_channels") or config["encoder_block_out_channels"]
    return 2 ** (len(blocks) - 1)


def vae_channels(config: Mapping[str, Any]) -> int:
    """Channels of a decoder's own latents."""
    return int(config["z_dim"] if "z_dim" in config else config["latent_channels"])


def vae_width(config: Mapping[str, Any]) -> int:
    """Channels of the feature maps at full resolution."""
    if "base_dim" in config:  # video decoders
        return int(config.get("decoder_base_dim") or config["base_dim"])
    return int((config.get("decoder_block_out_channels") or config["block_out_channels"])[0])


def decode(vae: Any, x: Tensor, instead: Mapping[str, float]) -> Tensor:
    """Images [B, 3, H, W] in [0, 1], float32, of latents; differentiable.

    `instead` has what the pipeline takes instead of the decoder's configuration.
    """
    config = {**vae.config, **instead}
    if hasattr(vae, "bn"):  # statistics over 2 x 2 patches
        statistics = vae.bn
        std = (statistics.running_var + config["batch_norm_eps"]).sqrt()
        x = x * std.view(1, -1, 1, 1) + statistics.running_mean.view(1, -1, 1, 1)
        x = F.pixel_shuffle(x, 2)
    elif config.get("latents_mean") is not None:
        mean, std = (
            torch.tensor(config[name], device=x.device).view(1, -1, 1, 1) for name in ("latents_mean", "latents_std")
        )
        x = x * std + mean
    else:
        x = x / config["scaling_factor"] + (config.get("shift_factor") or 0.0)
    is_video = "z_dim" in config
    # Of what lies otherwise in memory, decoders of large images err by 1e-3 on CPUs.
    x = x.to(vae.dtype).contiguous()
    x = x.unsqueeze(2) if is_video else x
    image = torch.cat([vae.decode(part, return_dict=False)[0] for part in _parts(x, vae_factor(config))])
    image = image[:, :, 0] if is_video else image
    image = (image.float() / 2 + 0.5).clamp(0, 1)
    return on_white(image) if image.shape[1] == 4 else image


def _parts(x: Tensor, factor: int) -> Sequence[Tensor]:
    """Latents [B, ..., h, w] as they are decoded: one by one where an image would depend on the others."""
    is_large = x.shape[-2] * x.shape[-1] * factor**2 >= ALONE_PIXELS
    return x.split(1) if is_large and x.device.type == "cpu" else (x,)


def on_white(image: Tensor) -> Tensor:
    """An image [B, 4, H, W] with its opacity in the last channel, on white: [B, 3, H, W]."""
    colour, opacity = image[:, :3], image[:, 3:]
    return colour * opacity + (1 - opacity)


def set_tiles(vae: Any, side: int) -> None:
    """Decode images that are larger than a tile of so many pixels a side in overlapping tiles."""
    vae.enable_tiling()
    if hasattr(vae, "tile_latent_min_size"):
        vae.tile_sample_min_size, vae.tile_latent_min_size = side, side // vae_factor(vae.config)
        return
    for axis in ("height", "width"):
        setattr(vae, f"tile_sample_min_{axis}", side)
        setattr(vae, f"tile_sample_stride_{axis}", side - side // TILE_PARTS)
