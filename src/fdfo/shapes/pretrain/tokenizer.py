"""Small CLIP tokenizers whose vocabulary is the grammar, and the tokenizer of the empty T5 slot."""

from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from fdfo.shapes.grammar import words

MAX_TOKENS = 12
"""Longest caption is 8 words; the rest is for the two special tokens and a little of the user's own."""
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
BOS_ID, EOS_ID = 0, 1
_END = "</w>"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def clip_tokenizer() -> CLIPTokenizer:
    """A byte-pair tokenizer that has one token for each word of the grammar and spells other words."""
    merges: list[Any] = []  # pairs of tokens, which transformers takes but does not annotate
    for word in _merge_order(words()):
        pieces = _pieces(word)
        for i in range(1, len(pieces)):
            merge = ("".join(pieces[:i]), pieces[i])
            if merge not in merges:
                merges.append(merge)
    tokens = [BOS, EOS, *_LETTERS, *(letter + _END for letter in _LETTERS), *(a + b for a, b in merges)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def silent_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that turns every text into the single end token."""
    backend = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1}, unk_token="<pad>"))
    backend.normalizer = normalizers.Replace(Regex(r"[\s\S]+"), "")
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<pad>", model_max_length=512
    )


def _pieces(word: str) -> list[str]:
    return [*word[:-1], word[-1] + _END]


def _merge_order(all_words: list[str]) -> list[str]:
    """Words such that the first merge of a later one cannot break up an earlier one ("above" before "bottom")."""
    inner = {word: set(pairwise(_pieces(word)[1:])) for word in all_words}
    # Lists rather than sets, whose order changes between processes.
    before = {word: [other for other in all_words if _first_pair(word) in inner[other]] for word in all_words}
    return list(TopologicalSorter(before).static_order())


def _first_pair(word: str) -> tuple[str, ...]:
    return tuple(_pieces(word)[:2])
