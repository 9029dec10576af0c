"""ImageReward (arXiv:2304.05977): what people prefer, by a BLIP that reads prompt and image together; about -2 to 2.

Follows ImageReward.score of THUDM/ImageReward. Departures:

1. BLIP is transformers' (its BlipVisionModel and BlipTextModel), with the published weights under its names.
2. Every tensor of the checkpoint must have a place: the authors load with strict=False.

B images with one prompt each, L = 35 tokens, D width of the text encoder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import linear

from fdfo.config.bounds import Images
from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards.pickled import published_file, read_pickled
from fdfo.rewards.preprocess import CLIP_MEAN, CLIP_STD, ClipPreprocess
from fdfo.rewards.pretrained import dtype_problems, explained, network_dtype

_TOKENS = 35
_MEAN, _STD = 0.16717362830052426, 1.0333394966054072  # of the authors' training set
_HEAD_WIDTH = 64
"""Width of every attention head, in both encoders."""
_VISION_EPS, _TEXT_EPS = 1e-6, 1e-12
_UNUSED = ("blip.vision_proj.", "blip.text_proj.")
_VISION_NAMES = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm": "post_layernorm",
}
_BLOCK_NAMES = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    vision: Any  # transformers.BlipVisionModel
    text: Any  # transformers.BlipTextModel
    layers: Sequence[tuple[Tensor, Tensor]]
    tokenizer: Callable[..., Any]
    preprocess: ClipPreprocess
    device: torch.device
    dtype: torch.dtype


class ImageReward:
    """What people prefer; differentiable with respect to the images. 2 GB to download."""

    differentiable = True

    def __init__(
        self,
        *,
        model: str = "THUDM/ImageReward",
        file: str = "ImageReward.pt",
        revision: str | None = None,
        tokenizer: str = "google-bert/bert-base-uncased",
        tokenizer_revision: str | None = None,
        batch_size: Images = 32,
        dtype: str = "float32",
    ):
        """model is a folder or hub id and file the checkpoint there; tokenizer is BERT's; both have a revision.

        Raises RewardError for unusable options.
        """
        problems = dtype_problems(dtype)
        if not isinstance(batch_size, int) or batch_size < 1:
            problems.append(f"batch_size must be a whole number from 1, got {batch_size!r}")
        if problems:
            raise RewardError("reward 'image-reward': " + "; ".join(problems))
        self._model, self._file, self._revision = model, file, revision
        self._tokenizer, self._tokenizer_revision = tokenizer, tokenizer_revision
        self._batch_size, self._dtype = batch_size, dtype
        self._loaded: _Loaded | None = None

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the encoders, frozen, in `dtype` or that of the options, and the head in float32.

        Raises RewardError when it cannot.
        """
        from transformers import AutoTokenizer

        dtype = network_dtype(self._dtype, dtype)
        with explained("image-reward", self._tokenizer, self._tokenizer_revision), quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(self._tokenizer, revision=self._tokenizer_revision)
        with explained("image-reward", self._model, self._revision), quiet_loading():
            weights = read_pickled(published_file(self._model, self._file, self._revision), as_transformers)
            try:
                vision, text = _vision(_below(weights, "vision.")), _text(_below(weights, "text."))
            except KeyError as error:
                raise ValueError(f"it lacks the tensor {error}") from error
        for network in (vision, text):
            network.requires_grad_(False).eval().to(device=device, dtype=dtype)
        head, side = _below(weights, "head."), vision.config.image_size
        stems = sorted({int(name.partition(".")[0]) for name in head})
        self._loaded = _Loaded(
            vision=vision,
            text=text,
            layers=[(head[f"{i}.weight"].float().to(device), head[f"{i}.bias"].float().to(device)) for i in stems],
            tokenizer=tokenizer,
            preprocess=ClipPreprocess(resize=side, size=(side, side), mode="bicubic", mean=CLIP_MEAN, std=CLIP_STD),
            device=torch.device(device),
            dtype=dtype,
        )

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        assert self._loaded is not None, "load() comes first"
        return [self._loaded.vision, self._loaded.text]

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32, on the device of `load`, of images [B, 3, H, W] in [0, 1]; prompts are cut at L."""
        starts = range(0, len(images), self._batch_size)
        rows = [slice(start, start + self._batch_size) for start in starts]
        return torch.cat([self._score(images[part], list(prompts[part])) for part in rows])

    def _score(self, images: Tensor, prompts: list[str]) -> Tensor:
        loaded = self._loaded
        assert loaded is not None, "load() comes first"
        pixels = loaded.preprocess(images.to(loaded.device, torch.float32)).to(loaded.dtype)
        seen = loaded.vision(pixel_values=pixels).last_hidden_state
        options = {"padding": "max_length", "max_length": _TOKENS, "truncation": True, "return_tensors": "pt"}
        tokens = loaded.tokenizer(prompts, **options).to(loaded.device)
        read = loaded.text(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, encoder_hidden_states=seen)
        rows = read.last_hidden_state[:, 0].float()  # [B, D], at the first token
        for weight, bias in loaded.layers:
            rows = linear(rows, weight, bias)
        return (rows.squeeze(-1) - _MEAN) / _STD


def as_transformers(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The checkpoint's tensors as `vision.`, `text.` and `head.` and transformers' names behind.

    Raises ValueError for a tensor that has no place.
    """
    weights = {}
    for name, value in checkpoint.items():
        if name.startswith("blip.visual_encoder."):
            weights["vision." + _vision_name(name.removeprefix("blip.visual_encoder."))] = value
        elif name.startswith("blip.text_encoder."):
            if not name.endswith("position_ids"):
                weights["text." + name.removeprefix("blip.text_encoder.")] = value
        elif name.startswith("mlp.layers."):
            weights["head." + name.removeprefix("mlp.layers.")] = value
        elif not name.startswith(_UNUSED):
            raise ValueError(f"it has a tensor {name!r}, which ImageReward has not")
    return weights


def _vision_name(name: str) -> str:
    if name in _VISION_NAMES:
        return _VISION_NAMES[name]
    module, _, kind = name.rpartition(".")
    block, _, part = module.removeprefix("blocks.").partition(".")
    if module.startswith("blocks.") and part in _BLOCK_NAMES:
        return f"encoder.layers.{block}.{_BLOCK_NAMES[part]}.{kind}"
    if module not in _VISION_NAMES:
        raise ValueError(f"it has a tensor {name!r} for the image, which BLIP has not")
    return f"{_VISION_NAMES[module]}.{kind}"


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _vision(weights: Mapping[str, Tensor]) -> Any:
    """transformers' vision encoder of the size that the weights have, with them inside."""
    from transformers import BlipVisionConfig, BlipVisionModel

    patches = weights["embeddings.patch_embedding.weight"]  # [width, 3, patch, patch]
    width, patch = patches.shape[0], patches.shape[-1]
    grid = isqrt(weights["embeddings.position_embedding"].shape[1] - 1)
    config = BlipVisionConfig(
        hidden_size=width,
        intermediate_size=weights["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=_count(weights, "encoder.layers."),
        num_attention_heads=width // _HEAD_WIDTH,
        image_size=grid * patch,
        patch_size=patch,
        layer_norm_eps=_VISION_EPS,
    )
    return _filled(BlipVisionModel(config), weights)


def _text(weights: Mapping[str, Tensor]) -> Any:
    """transformers' text encoder of the size that the weights have, with them inside."""
    from transformers import BlipTextConfig, BlipTextModel

    words, width = weights["embeddings.word_embeddings.weight"].shape
    config = BlipTextConfig(
        vocab_size=words,
        hidden_size=width,
        encoder_hidden_size=weights["encoder.layer.0.crossattention.self.key.weight"].shape[1],
        intermediate_size=weights["encoder.layer.0.intermediate.dense.weight"].shape[0],
        num_hidden_layers=_count(weights, "encoder.layer."),
        num_attention_heads=width // _HEAD_WIDTH,
        max_position_embeddings=weights["embeddings.position_embeddings.weight"].shape[0],
        layer_norm_eps=_TEXT_EPS,
    )
    return _filled(BlipTextModel(config, add_pooling_layer=False), weights)


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).partition(".")[0]) for name in weights if name.startswith(prefix))


def _filled(network: Any, weights: Mapping[str, Tensor]) -> Any:
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network
