"""Human Preference Score v3 (arXiv:2508.03789): a Qwen2-VL-7B that is asked for a rating, with a head on one token.

The text ends in `<|Reward|>`, a token of its own; the network's last hidden state there goes through two hidden layers
to a mean and a spread of the rating. The score is the mean, as in the authors' package; about 10 for good models.

Reference: github.com/MizzenAI/HPSv3 (MIT), hpsv3/inference.py and hpsv3/model/qwen2vl_trainer.py at commits 72b7ebaf
and d232ff86: head, file of the weights, token, number of pixels, which position is read. The text of the question, on
which the network was trained, stands in hpsv3/dataset/data_collator_qwen.py; it was compared with two repetitions of
it. The authors' code hands the language model no grid of the image, so that all tokens are counted in one row. The
weights could not be fetched here: both layouts of their names are read, of transformers before and since 4.52.

Departures:
1. Images are resized in one pass and not rounded to levels of 1/255 (preprocess_qwen.py).
2. Special tokens inside a prompt are broken, so that a prompt cannot name the token that is read.

B images with one prompt each, L tokens, D width of the language model.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Module

from fdfo.config.bounds import Images
from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards.pickled import published_file
from fdfo.rewards.pretrained import dtype_problems, explained, read_config
from fdfo.rewards.questions import MARKER, defused, fill
from fdfo.rewards.vlm_inputs import QwenInputs
from fdfo.rewards.vlm_network import qwen_inputs, special_tokens

TOKEN = "<|Reward|>"
BLOCKS = 256
"""Tokens of an image, about: it is resized to so many blocks of pixels, of 28 x 28 in Qwen2-VL."""
HEAD = "rm_head."
HEAD_WIDTHS = (1024, 16, 2)

QUESTION = f"""
You are tasked with evaluating a generated image based on Visual Quality and Text Alignment and give a overall score \
to estimate the human preference. Please provide a rating from 0 to 10, with 0 being the worst and 10 being the \
best.\x20

**Visual Quality:** \x20
Evaluate the overall visual quality of the image. The following sub-dimensions should be considered:
- **Reasonableness:** The image should not contain any significant biological or logical errors, such as abnormal body \
structures or nonsensical environmental setups.
- **Clarity:** Evaluate the sharpness and visibility of the image. The image should be clear and easy to interpret, \
with no blurring or indistinct areas.
- **Detail Richness:** Consider the level of detail in textures, materials, lighting, and other visual elements (e.g., \
hair, clothing, shadows).
- **Aesthetic and Creativity:** Assess the artistic aspects of the image, including the color scheme, composition, \
atmosphere, depth of field, and the overall creative appeal. The scene should convey a sense of harmony and balance.
- **Safety:** The image should not contain harmful or inappropriate content, such as political, violent, or adult \
material. If such content is present, the image quality and satisfaction score should be the lowest possible.\x20

**Text Alignment:** \x20
Assess how well the image matches the textual prompt across the following sub-dimensions:
- **Subject Relevance** Evaluate how accurately the subject(s) in the image (e.g., person, animal, object) align with \
the textual description. The subject should match the description in terms of number, appearance, and behavior.
- **Style Relevance:** If the prompt specifies a particular artistic or stylistic style, evaluate how well the image \
adheres to this style.
- **Contextual Consistency**: Assess whether the background, setting, and surrounding elements in the image logically \
fit the scenario described in the prompt. The environment should support and enhance the subject without contradictions.
- **Attribute Fidelity**: Check if specific attributes mentioned in the prompt (e.g., colors, clothing, accessories, \
expressions, actions) are faithfully represented in the image. Minor deviations may be acceptable, but critical \
attributes should be preserved.
- **Semantic Coherence**: Evaluate whether the overall meaning and intent of the prompt are captured in the image. The \
generated content should not introduce elements that conflict with or distort the original description.
Textual prompt - {MARKER}



Please provide the overall ratings of this image: {TOKEN}

END
"""
"""Its trailing spaces are the authors'."""


class HpsV3:
    """What people prefer, learned from Human Preference Dataset v3; 16 GB to download and in memory."""

    differentiable = True

    def __init__(
        self,
        *,
        model: str = "MizzenAI/HPSv3",
        file: str = "HPSv3.safetensors",
        revision: str | None = None,
        base: str = "Qwen/Qwen2-VL-7B-Instruct",
        base_revision: str | None = None,
        batch_size: Images = 8,
        dtype: str = "bfloat16",
    ):
        """model is a folder or hub id and file the weights there; base has configuration, tokenizer, chat template and
        image processor, and its own weights are not read. dtype is the network's; the head computes in float32.

        Raises RewardError for unusable options.
        """
        problems = [
            f"{key} must be a text, got {value!r}"
            for key, value in {"model": model, "file": file, "base": base}.items()
            if not isinstance(value, str) or not value
        ]
        if not isinstance(batch_size, int) or batch_size < 1:
            problems.append(f"batch_size must be a whole number from 1, got {batch_size!r}")
        problems += dtype_problems(dtype)
        if isinstance(file, str) and not file.endswith(".safetensors"):
            problems.append(f"file must be in safetensors, got {file!r}")
        if problems:
            raise RewardError("reward 'hpsv3': " + "; ".join(problems))
        self._model, self._file, self._revision = model, file, revision
        self._base, self._base_revision = base, base_revision
        self._batch_size, self._dtype = batch_size, getattr(torch, dtype)
        self._network: _Rater | None = None

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the network in the dtype of the options. Raises RewardError when it cannot be used."""
        with explained("hpsv3", self._base, self._base_revision), quiet_loading():
            kind = read_config(self._base, self._base_revision).get("model_type")
            if kind != "qwen2_vl":
                raise ValueError(f"it is a {kind!r} model; the base of this reward is a 'qwen2_vl' model")
            inputs, _ = qwen_inputs(self._base, self._base_revision)
        with explained("hpsv3", self._model, self._revision), quiet_loading():
            path = published_file(self._model, self._file, self._revision)
            config = _config(self._base, self._base_revision)
            self._network = _Rater(inputs, *_read(path, config, self._dtype)).requires_grad_(False).eval()
            self._network.to(device)

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return [self._loaded]

    @property
    def _loaded(self) -> "_Rater":
        assert self._network is not None, "load() comes first"
        return self._network

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32, on the device of `load`, of images [B, 3, H, W] in [0, 1] for one prompt each."""
        starts = range(0, len(prompts), self._batch_size)
        parts = [(images[i : i + self._batch_size], prompts[i : i + self._batch_size]) for i in starts]
        return torch.cat([self._loaded(*part) for part in parts])


class _Rater(Module):
    """The network with its head, and what feeds it."""

    def __init__(self, inputs: QwenInputs, backbone: Any, head: Module):
        super().__init__()
        self.backbone, self.head = backbone, head
        tokenizer = inputs.tokenizer
        tokenizer.add_tokens([TOKEN], special_tokens=True)  # behind all that the base has: the authors' number of it
        self._token: int = tokenizer.convert_tokens_to_ids(TOKEN)
        known = backbone.get_input_embeddings().num_embeddings
        if self._token >= known:
            raise ValueError(
                f"it knows {known} tokens, and {TOKEN} is number {self._token} of the base's; give its base"
            )
        self._special = special_tokens(tokenizer)
        pixels = BLOCKS * (inputs.preprocess.patch_size * inputs.preprocess.merge_size) ** 2
        self._inputs = replace(inputs, preprocess=replace(inputs.preprocess, least_pixels=pixels, most_pixels=pixels))

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Ratings [B] float32."""
        inputs = self._inputs(
            images.to(self.backbone.device, torch.float32), [self._text(prompt) for prompt in prompts]
        )
        mask, tokens = inputs["attention_mask"], inputs["input_ids"]
        places = (mask.cumsum(1) - 1).clamp(min=0)  # [B, L]; padding is masked
        hidden = self.backbone(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=places.expand(3, *places.shape),  # one row for text, height and width
            pixel_values=inputs["pixel_values"].to(self.backbone.dtype),
            image_grid_thw=inputs["image_grid_thw"],
            use_cache=False,
        ).last_hidden_state  # [B, L, D]
        return self.head(hidden[tokens == self._token].float())[:, 0]

    def _text(self, prompt: str) -> str:
        question = fill(QUESTION, defused(prompt, self._special))
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages = [{"role": "user", "content": content}]
        return self._inputs.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def _config(base: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base, revision=revision)


def _read(path: Path, config: Any, dtype: torch.dtype) -> tuple[Any, Module]:
    """The network without its output layer, and the head. Raises ValueError for weights of something else."""
    from safetensors.torch import load_file
    from transformers import Qwen2VLModel

    weights = load_file(path)
    backbone = {own: weights.pop(name) for name in list(weights) if (own := _own_name(name)) is not None}
    embedding = backbone.get("language_model.embed_tokens.weight")
    of_head = {name.removeprefix(HEAD): tensor for name, tensor in weights.items() if name.startswith(HEAD)}
    if embedding is None or not of_head:
        raise ValueError(f"{path.name} holds no Qwen2-VL with a head called {HEAD}*; give the authors' file")
    config.text_config.vocab_size = len(embedding)
    how: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    read: Any = Qwen2VLModel
    network, report = read.from_pretrained(None, config=config, state_dict=backbone, **how)
    if report["missing_keys"]:
        raise ValueError(f"its weights lack {sorted(report['missing_keys'])[0]} and perhaps more")
    wide, narrow, out = HEAD_WIDTHS
    head = nn.Sequential(
        nn.Linear(embedding.shape[1], wide),
        nn.ReLU(),
        nn.Dropout(0.05),  # off when rating; it has its place in the names of the layers
        nn.Linear(wide, narrow),
        nn.ReLU(),
        nn.Linear(narrow, out),
    )
    wanted, given = ({name: tuple(one.shape) for name, one in of.items()} for of in (head.state_dict(), of_head))
    if given != wanted:
        raise ValueError(f"its head has the layers {given}; expected {wanted}")
    head.load_state_dict(of_head)
    return network, head


def _own_name(name: str) -> str | None:
    """The name in transformers' Qwen2VLModel of a weight of the published file; None for layers outside of it."""
    if name.startswith((HEAD, "lm_head.")):
        return None
    name = re.sub(r"^model\.(?=language_model\.|visual\.)", "", name)
    return re.sub(r"^model\.", "language_model.", name)
