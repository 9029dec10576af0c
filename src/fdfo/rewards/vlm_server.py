"""The questions of `vlm`, asked through an OpenAI-compatible server such as vLLM or SGLang.

A score is 100 x sigmoid(log p(target) - log p(contrast)), averaged over the questions, as in vlm.py. Departures:

1. Only the first token of the answer is known, and of it only the `top_logprobs` most likely ones. An answer is counted
   by its likeliest first token; one that is not among them is taken to be as likely as the least likely of them. With
   20 of them this moves a score only where it is next to 0 or 100.
2. Images are rounded to levels of 1/255.
3. In prompts, what looks like the beginning of a special token of any model is broken, not those of this model.

B images with one prompt each, Q questions.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from fdfo.config.bounds import Logprobs, Processes, Seconds
from fdfo.errors import RewardError
from fdfo.rewards.endpoint import Endpoint
from fdfo.rewards.png import to_png
from fdfo.rewards.questions import QUESTIONS, answer_problems, defused, fill, question_texts

_PROBE = torch.full((1, 3, 64, 64), 0.5)

_MARKERS = ("<|", "<image", "</s")
"""How special tokens of chat models begin; which ones the served model has is not known here."""


class VlmServer:
    """How surely a served model answers yes, 0 to 100."""

    differentiable = False
    remote = True

    def __init__(
        self,
        *,
        url: str = "http://127.0.0.1:8000/v1",
        model: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        questions: str | Sequence[str] = ("alignment",),
        target: str = "Yes",
        contrast: str = "No",
        concurrency: Processes = 16,
        top_logprobs: Logprobs = 20,
        timeout_s: Seconds = 120.0,
        patience_s: Seconds = 600.0,
        key_variable: str | None = None,
    ):
        """url is the part before /chat/completions, model the name that the server knows; questions as in `vlm`.

        concurrency requests, of one image and question each, are under way at a time. top_logprobs is what the server
        allows (vLLM and OpenAI: 20). key_variable names the environment variable with the key. The rest as in `remote`.
        Raises RewardError for unusable options.
        """
        unusable = answer_problems((target, contrast))
        problems = list(unusable)
        for name, value in {"concurrency": concurrency, "top_logprobs": top_logprobs}.items():
            if not isinstance(value, int) or value < 1:
                problems.append(f"{name} must be a whole number from 1, got {value!r}")
        if not unusable and (_begins(target, contrast) or _begins(contrast, target)):
            problems.append(f"target {target!r} and contrast {contrast!r} must not begin alike")
        if problems:
            raise RewardError("reward 'vlm-server': " + "; ".join(problems))
        self._questions = question_texts("vlm-server", questions, QUESTIONS)
        self._model, self._words, self._top_logprobs = model, (target, contrast), top_logprobs
        self._concurrency = concurrency
        self._endpoint = Endpoint(
            "vlm-server", url, timeout_s=timeout_s, patience_s=patience_s, key_variable=key_variable
        )

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Ask about a grey picture: a wrong address, model or key is known before the first image is sampled.

        Raises RewardError.
        """
        self._endpoint.check_key()
        self._log_odds(to_png(_PROBE)[0], fill(self._questions[0], "a grey picture"))

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32 on the CPU of images [B, 3, H, W] in [0, 1]; NaN where neither answer was likely."""
        pictures = to_png(images)
        rows = [
            (picture, prompt, question)
            for picture, prompt in zip(pictures, prompts, strict=True)
            for question in self._questions
        ]
        with ThreadPoolExecutor(self._concurrency) as threads:
            answers = list(threads.map(lambda row: self._answer(*row), rows))
        log_odds = torch.tensor(answers).unflatten(0, (len(pictures), len(self._questions)))
        return 100 * log_odds.sigmoid().mean(1)

    def _answer(self, picture: str, prompt: str, question: str) -> float:
        try:
            return self._log_odds(picture, fill(question, defused(prompt, _MARKERS)))
        except RewardError as error:
            raise RewardError(f"{error} (asked about an image for {prompt[:200]!r})") from error

    def _log_odds(self, picture: str, question: str) -> float:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
        payload = {
            "model": self._model,
            "messages": [{"role": "user", "content": [image, {"type": "text", "text": question}]}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": self._top_logprobs,
        }
        likely = self._likely(self._endpoint.exchange("/chat/completions", payload))
        found = [max((p for token, p in likely if _begins(token.strip(), word)), default=None) for word in self._words]
        if found[0] is None and found[1] is None:
            return float("nan")
        least = min(p for _, p in likely)
        target, contrast = (least if p is None else p for p in found)
        return target - contrast

    def _likely(self, answer: Any) -> list[tuple[str, float]]:
        """The likeliest first tokens with their log-probabilities."""
        try:
            entries = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            likely = [(entry["token"], float(entry["logprob"])) for entry in entries]
        except (KeyError, IndexError, TypeError, ValueError):
            likely = []
        if not likely or not all(isinstance(token, str) and isfinite(p) for token, p in likely):
            raise RewardError(
                f"{self._endpoint.name} gives no log-probabilities of the first token; expected "
                "choices[0].logprobs.content[0].top_logprobs. Use a server that has them, such as vLLM"
            )
        return likely


def _begins(token: str, word: str) -> bool:
    """Whether a token can be the first one of a word."""
    return bool(token) and word.startswith(token)
