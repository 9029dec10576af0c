"""Agreement of image and text by any CLIP model of transformers (arXiv:2103.00020).

B images and as many prompts, U distinct prompts, L tokens, D width of the joint embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cosine_similarity

from fdfo.config.bounds import Images
from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards.preprocess import ClipPreprocess
from fdfo.rewards.pretrained import dtype_problems, explained, network_dtype, read_config

_LEGACY_END = 2
"""An end token that transformers ignores: it then pools at the highest token number (its issue #24773)."""


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    model: Any  # transformers.CLIPModel
    tokenizer: Any
    preprocess: ClipPreprocess
    scale: Tensor  # [] float32
    device: torch.device
    dtype: torch.dtype


class ContrastiveScore:
    """Scale x cosine of image and text embedding, differentiable with respect to the images."""

    differentiable = True

    def __init__(
        self,
        reward: str,
        *,
        model: str,
        revision: str | None = None,
        processor: str | None = None,
        processor_revision: str | None = None,
        batch_size: Images,
        dtype: str = "float32",
        scale: float | None = None,
        read_weights: Callable[[], Mapping[str, Tensor]] | None = None,
        whole: bool = False,
    ):
        """Nothing is read yet.

        `reward` is the name for messages. `model` is a folder or hub id; `processor`, the same for the tokenizer and
        the image processor, defaults to it. Both have a `revision`. `batch_size` images are embedded at a time.
        `dtype` is the network's; float32 leaves it to `load`. `scale` multiplies the cosine; None: exp(logit scale) of
        the model. `read_weights` gives the weights where `model` does not have them as safetensors. `whole` shows the
        network all of an image that is not square, with black beside it, in place of what the image processor does.
        Raises RewardError for unusable options.
        """
        problems = [
            f"{key} must be a folder or hub id, got {value!r}"
            for key, value in {"model": model, "processor": processor or model}.items()
            if not isinstance(value, str) or not value
        ]
        if not isinstance(batch_size, int) or batch_size < 1:
            problems.append(f"batch_size must be a whole number from 1, got {batch_size!r}")
        problems += dtype_problems(dtype)
        if processor_revision and not processor:
            problems.append(
                "processor_revision belongs to processor, which is not given; revision is that of the model"
            )
        if problems:
            raise RewardError(f"reward {reward!r}: " + "; ".join(problems))
        self._reward, self._model, self._revision, self._batch_size = reward, model, revision, batch_size
        self._processor, self._processor_revision = (processor, processor_revision) if processor else (model, revision)
        self._scale, self._read_weights, self._dtype, self._whole = scale, read_weights, dtype, whole
        self._loaded: _Loaded | None = None

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the network, frozen, in `dtype` or that of the options; embeddings are compared in float32.

        Raises RewardError when the model cannot be found, reached or read, is no CLIP model, or has another tokenizer.
        """
        from transformers import AutoTokenizer, ImageProcessingMixin

        dtype = network_dtype(self._dtype, dtype)
        with explained(self._reward, self._model, self._revision):
            kind = read_config(self._model, self._revision).get("model_type")
            if kind != "clip":
                raise ValueError(f"it is a {kind!r} model; this reward takes a 'clip' model")
        with explained(self._reward, self._processor, self._processor_revision), quiet_loading():
            options = {"revision": self._processor_revision}
            tokenizer = AutoTokenizer.from_pretrained(self._processor, **options)
            image_config, _ = ImageProcessingMixin.get_image_processor_dict(self._processor, **options)
            preprocess = replace(ClipPreprocess.from_config(image_config), whole=self._whole)
        with explained(self._reward, self._model, self._revision), quiet_loading():
            model = self._read_model()
            _check_fit(model.config, tokenizer, preprocess)
        scale = torch.tensor(self._scale, device=device) if self._scale else model.logit_scale.detach().exp().to(device)
        model.requires_grad_(False).eval().to(device=device, dtype=dtype)
        self._loaded = _Loaded(
            model=model,
            tokenizer=tokenizer,
            preprocess=preprocess,
            scale=scale,
            device=torch.device(device),
            dtype=dtype,
        )

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return [self._require_loaded().model]

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32, on the device of `load`, of images [B, 3, H, W] in [0, 1] for one prompt each.

        Prompts are cut at the length that the model knows.
        """
        distinct = list(dict.fromkeys(prompts))  # samples of one group share their prompt
        texts = self.text_features(distinct)  # [U, D]
        row = {prompt: i for i, prompt in enumerate(distinct)}
        texts = texts[[row[prompt] for prompt in prompts]]  # [B, D]
        loaded = self._require_loaded()
        return loaded.scale * cosine_similarity(self.image_features(images), texts, dim=-1)

    def image_features(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] float32 of images [B, 3, H, W] in [0, 1]; their length has no meaning."""
        return self._batched(self._embed_images, images)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [B, D] float32 of texts, cut at the length that the model knows; their length has no meaning."""
        return self._batched(self._embed_texts, list(texts))

    def _read_model(self) -> Any:
        """The network in float32: a logit scale rounded to bfloat16 would change every score by a per cent."""
        from transformers import CLIPConfig, CLIPModel

        where: dict[str, Any] = {"revision": self._revision}
        how: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        if self._read_weights is None:
            read: Any = CLIPModel.from_pretrained(self._model, **where, **how)
        else:
            config = CLIPConfig.from_pretrained(self._model, **where)
            read = CLIPModel.from_pretrained(None, config=config, state_dict=dict(self._read_weights()), **how)
        model, report = read
        if report["missing_keys"]:
            raise ValueError(f"its weights lack {sorted(report['missing_keys'])[0]} and perhaps more")
        return model

    def _batched(self, embed: Any, inputs: Any) -> Tensor:
        """Embeddings of all inputs, float32, in which they are compared."""
        starts = range(0, len(inputs), self._batch_size)
        return torch.cat([embed(inputs[start : start + self._batch_size]) for start in starts]).float()

    def _embed_texts(self, texts: list[str]) -> Tensor:
        """Embeddings [B, D]; always padded to the same length, so that a batch does not matter."""
        loaded = self._require_loaded()
        length = loaded.model.config.text_config.max_position_embeddings
        tokens = loaded.tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        tokens = {key: tokens[key].to(loaded.device) for key in ("input_ids", "attention_mask")}  # [B, L]
        return loaded.model.text_projection(loaded.model.text_model(**tokens).pooler_output)

    def _embed_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, D]."""
        loaded = self._require_loaded()
        pixels = loaded.preprocess(images.to(loaded.device, torch.float32)).to(loaded.dtype)
        return loaded.model.visual_projection(loaded.model.vision_model(pixel_values=pixels).pooler_output)

    def _require_loaded(self) -> _Loaded:
        assert self._loaded is not None, "load() comes first"
        return self._loaded


def _check_fit(config: Any, tokenizer: Any, preprocess: ClipPreprocess) -> None:
    """Raise ValueError when tokenizer or image processor are those of another model, which would give wrong scores."""
    end, side = config.text_config.eos_token_id, config.vision_config.image_size
    if end not in (_LEGACY_END, tokenizer.eos_token_id) or len(tokenizer) > config.text_config.vocab_size:
        raise ValueError(
            f"its tokenizer ({len(tokenizer)} tokens, end token {tokenizer.eos_token_id}) is not the model's "
            f"({config.text_config.vocab_size} tokens, end token {end}); give the right processor="
        )
    if preprocess.size != (side, side):
        raise ValueError(
            f"its image processor makes {preprocess.size} pixels and the model takes {(side, side)}; "
            "give the right processor="
        )
