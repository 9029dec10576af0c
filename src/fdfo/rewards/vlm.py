"""Yes or no, asked of a vision-language model (arXiv:2603.12893, Section 4).

B images with one prompt each, Q questions. A score is 100 x sigmoid(log p(target) - log p(contrast)), averaged over the
questions; for words of one token, the difference is that of their logits. Departures: none known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from fdfo.config.bounds import Images
from fdfo.errors import RewardError
from fdfo.rewards.pretrained import explained
from fdfo.rewards.questions import PAIR_QUESTIONS, QUESTIONS, answer_problems, defused, fill, question_texts
from fdfo.rewards.soft_tifa import MEANS, Mean, PromptQuestions
from fdfo.rewards.vlm_network import VlmNetwork, Words, load_network, option_problems

DEFAULT_MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"


class VlmAnswers:
    """Log-odds of one answer over another, to questions about images; what `vlm` and `vlm-pair` share."""

    def __init__(
        self,
        reward: str,
        *,
        model: str,
        revision: str | None,
        questions: Sequence[str],
        words: tuple[str, str],
        batch_size: Images,
        dtype: str,
        quantize: str | None,
    ):
        """`reward` is the name for messages, `words` the target and the contrast. Raises RewardError."""
        problems = [*option_problems(model, batch_size, dtype, quantize), *answer_problems(words)]
        if problems:
            raise RewardError(f"reward {reward!r}: " + "; ".join(problems))
        self._reward, self._model, self._revision = reward, model, revision
        self._questions, self._said, self._batch_size = questions, words, batch_size
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._quantize = quantize
        self._network: VlmNetwork | None = None
        self._words: Words = ((), ())

    def load(self, device: torch.device | str) -> None:
        """Read the model. Raises RewardError when it cannot be used."""
        self._network = load_network(
            self._reward, self._model, self._revision, torch.device(device), self._dtype, self._quantize
        )
        with explained(self._reward, self._model, self._revision):
            self._words = self._network.words(*self._said)

    @property
    def network(self) -> VlmNetwork:
        assert self._network is not None, "load() comes first"
        return self._network

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return [self.network.module]

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Log-odds [B, Q] float32 for images [B, n, 3, H, W] in [0, 1], n in each conversation."""
        network, count = self.network, len(self._questions)
        safe = [defused(prompt, network.special_tokens) for prompt in prompts]
        texts = [
            network.render(fill(question, prompt), images.shape[1]) for prompt in safe for question in self._questions
        ]
        parts = []
        for start in range(0, len(texts), self._batch_size):
            rows = range(start, min(start + self._batch_size, len(texts)))
            shown = images[[row // count for row in rows]].flatten(0, 1)
            try:
                parts.append(network.log_odds(shown, [texts[row] for row in rows], self._words))
            except RewardError as error:
                longest = max((prompts[row // count] for row in rows), key=len)
                raise RewardError(f"reward {self._reward!r} on {longest[:80]!r}: {error}") from error
        return torch.cat(parts).unflatten(0, (len(images), count))


class VlmScore:
    """How surely the model answers yes, or as each prompt's own questions want it, 0 to 100."""

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        questions: str | Sequence[str] = ("alignment",),
        target: str = "Yes",
        contrast: str = "No",
        batch_size: Images = 8,
        dtype: str = "bfloat16",
        quantize: str | None = None,
        differentiable: bool = False,
        questions_from: str | None = None,
        mean: Mean = "arithmetic",
    ):
        """model is a folder or hub id of any transformers image-text-to-text model with a chat template.

        questions are names of questions.py, or texts in which {prompt} stands for the prompt; target and contrast are
        the answers to tell apart. batch_size counts images x questions. dtype is the network's; quantize keeps its
        weights in 8bit or 4bit (the [gpu] extra). differentiable needs a model of the Qwen-VL family.

        questions_from asks each prompt's own questions instead (soft_tifa.py): the field of its metadata with
        [question, answer] pairs; mean, arithmetic or geometric, is over them.

        Raises RewardError for unusable options.
        """
        texts = question_texts("vlm", questions, QUESTIONS)
        words = (target, contrast)
        problems = []
        if mean not in MEANS:
            problems.append(f"mean must be one of {', '.join(MEANS)}, got {mean!r}")
        if questions_from is None and mean != "arithmetic":
            problems.append("mean is over the questions of a prompt; it goes with questions_from")
        if questions_from is not None and (*texts, *words) != (QUESTIONS["alignment"], "Yes", "No"):
            problems.append("questions_from brings questions and answers; leave questions, target and contrast out")
        if questions_from is not None and (not isinstance(questions_from, str) or not questions_from):
            problems.append(f"questions_from must name a field of the prompts' metadata, got {questions_from!r}")
        if problems:
            raise RewardError("reward 'vlm': " + "; ".join(problems))
        self._answers = VlmAnswers(
            "vlm",
            model=model,
            revision=revision,
            questions=texts,
            words=words,
            batch_size=batch_size,
            dtype=dtype,
            quantize=quantize,
        )
        self.differentiable = bool(differentiable)
        self._own = PromptQuestions("vlm", questions_from, mean, batch_size) if questions_from else None

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the model in the dtype of the options. Raises RewardError when it cannot be used."""
        self._answers.load(device)
        if self.differentiable and not self._answers.network.differentiable:
            raise RewardError(
                "reward 'vlm': differentiable=true works with models of the Qwen-VL family; the processor of this one "
                "works on whole levels of 1/255. Choose another model, or leave the option out"
            )

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return self._answers.networks

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32, on the device of `load`, of images [B, 3, H, W] in [0, 1] for one prompt each."""
        if self._own is not None:
            return 100 * self._own(self._answers.network, images, prompts, metadata)
        return 100 * self._answers(images.unsqueeze(1), prompts).sigmoid().mean(1)


class VlmPair:
    """Which of two images of a prompt the model calls the better one, from -100 to 100 in favour of the first."""

    differentiable = False
    pairwise = True

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        questions: str | Sequence[str] = ("better",),
        first: str = "First",
        second: str = "Second",
        batch_size: Images = 4,
        dtype: str = "bfloat16",
        quantize: str | None = None,
    ):
        """As VlmScore; first and second are the answers that name an image. Raises RewardError."""
        texts = question_texts("vlm-pair", questions, PAIR_QUESTIONS)
        words = (first, second)
        self._answers = VlmAnswers(
            "vlm-pair",
            model=model,
            revision=revision,
            questions=texts,
            words=words,
            batch_size=batch_size,
            dtype=dtype,
            quantize=quantize,
        )

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the model in the dtype of the options. Raises RewardError when it cannot be used."""
        self._answers.load(device)

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return self._answers.networks

    def __call__(
        self, first: Tensor, second: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> Tensor:
        """Preferences [B] float32 for the first of two images [B, 3, H, W] in [0, 1] of one prompt each.

        The model has a liking for one of the places; whoever calls this asks in both orders.
        """
        log_odds = self._answers(torch.stack([first, second], 1), prompts)
        return 100 * (2 * log_odds.sigmoid() - 1).mean(1)
