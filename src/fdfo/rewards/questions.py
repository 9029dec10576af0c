"""Questions about an image for a vision-language model, the same wherever they are asked."""

from collections.abc import Iterable, Sequence
from typing import Any

from fdfo.errors import RewardError, nearest

MARKER = "{prompt}"
"""Stands for the prompt in a question. It is replaced, never formatted: a prompt may hold anything."""

QUESTIONS = {
    "alignment": f'Does this image match the caption "{MARKER}"? Answer Yes or No.',
    "quality": "Is this image of professional quality? Answer Yes or No.",
    "photorealistic": "Is this image photorealistic? Answer Yes or No.",
}
"""alignment: arXiv:2603.12893. It also asks for professional quality and photorealism; the wording of these is ours."""

PAIR_QUESTIONS = {
    "better": f'Which of these two images is the better picture for the caption "{MARKER}"? Answer First or Second.'
}
"""Questions about two images, by name; the wording is ours."""


def question_texts(reward: str, asked: Any, known: dict[str, str]) -> list[str]:
    """The texts of questions given by name or in full; one, or a list of them.

    Raises RewardError, naming the reward, for what is neither.
    """
    listed = [asked] if isinstance(asked, str) else asked
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(text, str) and text for text in listed):
        raise RewardError(f"reward {reward!r}: questions must be a list of names or texts, got {asked!r}")
    for text in listed:
        if text not in known and len(text.split()) == 1:
            raise RewardError(f"reward {reward!r}: no question {text!r}; {nearest(text, list(known))}, or write it out")
    return [known.get(text, text) for text in listed]


def answer_problems(words: Sequence[Any]) -> list[str]:
    """What is wrong with answers, for a message; YAML reads a bare Yes or No as a truth value."""
    hint = """ (in YAML, quote it: '"Yes"')"""
    return [
        f"an answer must be a text, got {word!r}{hint if isinstance(word, bool) else ''}"
        for word in words
        if not isinstance(word, str) or not word
    ]


def fill(question: str, prompt: str) -> str:
    """The question with the prompt in the place of every marker."""
    return question.replace(MARKER, prompt)


def defused(prompt: str, special_tokens: Iterable[str]) -> str:
    """The prompt with a space inside everything that a tokenizer would take for one of its special tokens."""
    for token in special_tokens:
        prompt = prompt.replace(token, f"{token[0]} {token[1:]}")
    return prompt
