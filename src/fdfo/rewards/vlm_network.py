"""A vision-language model of transformers that answers with one of two words.

R rows, n images each, [R n, 3, H, W] images in [0, 1], L tokens, V words of the vocabulary.

The output layer works in float32 whatever the rest does: logits in bfloat16 come in steps of 1/8, and a pair of images
would often tie.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import linear

from fdfo.errors import RewardError, first_line, install_advice
from fdfo.hub import quiet_loading
from fdfo.rewards.preprocess_qwen import QwenPreprocess
from fdfo.rewards.pretrained import dtype_problems, explained, read_config
from fdfo.rewards.vlm_inputs import QWEN, Inputs, ProcessorInputs, QwenInputs

_TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")
"""Inputs that say for each token whether it is of an image; 0 is text."""

HEAD_TOKENS = 2**14
"""Tokens of the vocabulary whose weights are in float32 at a time."""

QUANTIZED: dict[str, dict[str, Any]] = {
    "8bit": {"load_in_8bit": True},
    "4bit": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}
"""How bitsandbytes keeps the weights of linear layers (arXiv:2208.07339, arXiv:2305.14314)."""

Words = tuple[tuple[int, ...], tuple[int, ...]]
"""Tokens of the target and of the contrast word."""


def option_problems(model: object, batch_size: object, dtype: object, quantize: object) -> list[str]:
    """What is wrong with the options that every score by such a model has, for a message."""
    found = []
    if not isinstance(model, str) or not model:
        found.append(f"model must be a folder or hub id, got {model!r}")
    if not isinstance(batch_size, int) or batch_size < 1:
        found.append(f"batch_size must be a whole number from 1, got {batch_size!r}")
    found += dtype_problems(dtype)
    if quantize not in (None, *QUANTIZED):
        found.append(f"quantize must be one of {', '.join(QUANTIZED)}, got {quantize!r}")
    return found


class VlmNetwork:
    """A loaded, frozen model with its tokenizer and chat template."""

    def __init__(self, model: Any, inputs: Inputs, templates: Any, device: torch.device):
        self._model, self._inputs, self._templates, self._device = model, inputs, templates, device
        self.special_tokens = special_tokens(inputs.tokenizer)
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.token_limit: int | None = limit
        """Tokens that the language model can read; None: not known."""

    @property
    def module(self) -> Module:
        """The network."""
        return self._model

    @property
    def device(self) -> torch.device:
        """Where it is asked."""
        return self._device

    @property
    def differentiable(self) -> bool:
        """Whether images carry a gradient to the answer."""
        return isinstance(self._inputs, QwenInputs)

    def render(self, question: str, images: int = 1) -> str:
        """The text of a conversation, up to where the model answers a question about some images."""
        content = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": question}]
        return self._render([{"role": "user", "content": content}], add_generation_prompt=True)

    def words(self, target: str, contrast: str) -> Words:
        """Tokens of two answers as the chat template places them.

        Raises ValueError when one begins with the other: it could then never win.
        """
        tokens = self._answer(target), self._answer(contrast)
        shorter = min(map(len, tokens))
        if tokens[0][:shorter] == tokens[1][:shorter]:
            raise ValueError(f"the tokens of {target!r} and {contrast!r} begin alike, {tokens}; choose other words")
        return tokens

    def log_odds(self, images: Tensor, texts: Sequence[str], words: Words) -> Tensor:
        """Log-probability of the target less that of the contrast word, as the answer to each text: [R] float32.

        For words of one token each, this is the difference of their logits. Raises RewardError for texts that are
        longer than the model can read.
        """
        inputs = self._inputs(images.to(self._device, torch.float32), texts)
        self._check_length(inputs["attention_mask"], max(map(len, words)) - 1)
        forced = dict.fromkeys(word[:-1] for word in words)  # one forward for each distinct beginning
        log_probabilities = {beginning: self._read_on(inputs, beginning) for beginning in forced}
        target, contrast = (log_probabilities[word[:-1]][:, range(len(word)), word].sum(1) for word in words)
        return target - contrast

    def log_chances(self, images: Tensor, texts: Sequence[str], tokens: Sequence[Sequence[int]]) -> Tensor:
        """Log-probability that the answer to each text begins with one of its tokens: [R] float32.

        Raises RewardError for texts that are longer than the model can read.
        """
        inputs = self._inputs(images.to(self._device, torch.float32), texts)
        self._check_length(inputs["attention_mask"], 0)
        first = self._read_on(inputs, ())[:, 0]  # [R, V]
        return torch.stack([row[list(own)].logsumexp(0) for row, own in zip(first, tokens, strict=True)])

    def answers(self, images: Tensor, texts: Sequence[str], most_tokens: int) -> list[str]:
        """What the model writes to each text: the likeliest token at every place, up to `most_tokens` tokens.

        Raises RewardError for texts that are longer than the model can read.
        """
        inputs = self._inputs(images.to(self._device, torch.float32), texts)
        self._check_length(inputs["attention_mask"], most_tokens)
        own: Any = deepcopy(self._model.generation_config)  # with its end tokens and its penalty of repetitions
        own.update(
            do_sample=False, temperature=None, top_p=None, top_k=None, max_new_tokens=most_tokens, max_length=None
        )
        own.pad_token_id = self._inputs.tokenizer.pad_token_id
        dtype = self._model.dtype
        given = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in inputs.items()}
        with torch.no_grad():
            written = self._model.generate(**given, generation_config=own)[:, inputs["input_ids"].shape[1] :]
        return self._inputs.tokenizer.batch_decode(written, skip_special_tokens=True)

    def first_tokens(self, words: Sequence[str]) -> list[int]:
        """The different tokens that words begin with."""
        encode = self._inputs.tokenizer.encode
        return list(dict.fromkeys(encode(word, add_special_tokens=False)[0] for word in words))

    def _read_on(self, inputs: dict[str, Tensor], beginning: tuple[int, ...]) -> Tensor:
        """Log-probabilities [R, len(beginning) + 1, V] of every token of an answer that begins so, and of the next."""
        rows = len(inputs["input_ids"])
        added = torch.tensor([beginning], dtype=torch.long, device=self._device).expand(rows, len(beginning))
        values = {"input_ids": added, "attention_mask": torch.ones_like(added)}
        values |= {key: torch.zeros_like(added) for key in _TOKEN_TYPES}
        longer = {
            key: torch.cat([tensor, values[key].to(tensor.dtype)], 1) if key in values else tensor
            for key, tensor in inputs.items()
        }
        dtype = self._model.dtype
        longer = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in longer.items()}
        logits = self._model(**longer, logits_to_keep=len(beginning) + 1, use_cache=False).logits
        return logits.float().log_softmax(-1)

    def _answer(self, word: str) -> tuple[int, ...]:
        """Tokens of a word that follow a question; templates differ in the space before an answer."""
        asked = self.render("?")
        said = {"role": "assistant", "content": [{"type": "text", "text": word}]}
        question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}
        behind = self._render([question, said]).removeprefix(asked)
        space = behind[: len(behind) - len(behind.lstrip())] if behind.lstrip().startswith(word) else ""
        before, whole = (
            self._inputs.tokenizer.encode(text, add_special_tokens=False) for text in (asked, asked + space + word)
        )
        if whole[: len(before)] == before:
            return tuple(whole[len(before) :])
        return tuple(self._inputs.tokenizer.encode(space + word, add_special_tokens=False))

    def _render(self, messages: list[dict[str, Any]], **options: Any) -> str:
        return self._templates.apply_chat_template(messages, tokenize=False, **options)

    def _check_length(self, attention_mask: Tensor, more: int) -> None:
        longest = int(attention_mask.sum(1).max()) + more
        if self.token_limit is not None and longest > self.token_limit:
            raise RewardError(
                f"image and question are {longest} tokens and the model reads {self.token_limit}; "
                "shorten the prompt, use smaller images, or choose a model that reads more"
            )


def special_tokens(tokenizer: Any) -> list[str]:
    """What the tokenizer takes for more than text, the longest first."""
    added = [token for token in tokenizer.get_added_vocab() if len(token) > 1 and not token.isspace()]
    return sorted(added, key=len, reverse=True)


_loaded: WeakValueDictionary[tuple[Any, ...], VlmNetwork] = WeakValueDictionary()


def load_network(
    reward: str,
    model: str,
    revision: str | None,
    device: torch.device,
    dtype: torch.dtype,
    quantize: str | None = None,
) -> VlmNetwork:
    """Read a folder or hub id; rewards that ask the same model share it.

    Raises RewardError when it cannot be found, reached or read, or has no chat template.
    """
    key = (model, revision, device, dtype, quantize)
    network = _loaded.get(key)
    if network is None:
        with explained(reward, model, revision), quiet_loading():
            kind = str(read_config(model, revision).get("model_type"))
            inputs, templates = (qwen_inputs if kind in QWEN else _any_other)(model, revision)
            if getattr(templates, "chat_template", None) is None:
                raise ValueError("it has no chat template; choose a model that is tuned to answer")
            _prepare_padding(inputs.tokenizer)
            network = VlmNetwork(_read_model(model, revision, device, dtype, quantize), inputs, templates, device)
            if not _has_place_for_images(network):
                raise ValueError("its chat template has no place for images; choose a model that sees")
        _loaded[key] = network
    return network


def _has_place_for_images(network: VlmNetwork) -> bool:
    from jinja2 import TemplateError

    try:
        return network.render("?", 0) != network.render("?", 1)
    except (TemplateError, TypeError):  # a template for text alone joins what it takes for text
        return False


def qwen_inputs(model: str, revision: str | None) -> tuple[QwenInputs, Any]:
    """What feeds a model of the Qwen-VL family, and its tokenizer, which has the chat template."""
    from transformers import AutoTokenizer, ImageProcessingMixin, ProcessorMixin

    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
    processor, _ = ProcessorMixin.get_processor_dict(model, revision=revision)
    if template := processor.get("chat_template"):
        tokenizer.chat_template = template  # Qwen2.5-VL's tokenizer has one of its own, for text alone
    config, _ = ImageProcessingMixin.get_image_processor_dict(model, revision=revision)
    image_token = tokenizer.convert_ids_to_tokens(read_config(model, revision)["image_token_id"])
    return QwenInputs(tokenizer, QwenPreprocess.from_config(config), image_token), tokenizer


def _any_other(model: str, revision: str | None) -> tuple[Inputs, Any]:
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(model, revision=revision)
    except ImportError as error:
        fix = install_advice("num2words", "torchvision")
        raise ValueError(f"its processor needs a package that is not here: {fix} ({first_line(error)})") from error
    return ProcessorInputs(processor), processor


def _prepare_padding(tokenizer: Any) -> None:
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # masked: it is never read


def _read_model(
    model: str, revision: str | None, device: torch.device, dtype: torch.dtype, quantize: str | None
) -> Any:
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "use_safetensors": True}
    if quantize is not None:  # on its device from the start: layers in few bits do not move
        config = BitsAndBytesConfig(**QUANTIZED[quantize], bnb_4bit_compute_dtype=dtype)
        options |= {"quantization_config": config, "device_map": {"": device}}
    read: Any = AutoModelForImageTextToText.from_pretrained(model, output_loading_info=True, **options)
    network, report = read
    if report["missing_keys"]:
        raise ValueError(f"its weights lack {sorted(report['missing_keys'])[0]} and perhaps more")
    network.requires_grad_(False).eval()
    if quantize is None:
        network.to(device)
    network.set_output_embeddings(Float32Head(network.get_output_embeddings()))
    return network


class Float32Head(Module):
    """An output layer that computes in float32 from the weights that it has: a copy of a 7B model's would take 2 GB."""

    def __init__(self, head: Any):
        super().__init__()
        self.head = head

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] float32 of hidden states [..., D]."""
        parts = [linear(hidden.float(), weight.float()) for weight in self.head.weight.split(HEAD_TOKENS)]
        logits = torch.cat(parts, -1)
        return logits if self.head.bias is None else logits + self.head.bias.float()
