"""How much of a prompt a pipeline reads: what is longer is cut by its tokenizers, which say nothing."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import transformers

from fdfo.config.tree import PolicyConfig
from fdfo.hub import LOADING_ERRORS, quiet_loading
from fdfo.models.custom_policy import is_custom
from fdfo.models.outline import Outline
from fdfo.models.source import EMBEDDED_TEXT_TOKENS, ModelSource
from fdfo.words import plural

MARKS = 8
"""Tokens that are no part of a text, at most: of its start, its end, a language. An ASCII character is one at most."""

BATCH = 1000
"""Texts that are counted at a time."""


def reading_notes(config: PolicyConfig, texts: Sequence[str]) -> list[str]:
    """A line with the number of distinct prompts that no text encoder of the model reads to the end; none, no line.

    It is counted by the tokenizers alone, where they are on this machine, and without what a pipeline's template adds.
    Raises ModelError for a model that cannot be found.
    """
    if is_custom(config):
        return []
    distinct = list(dict.fromkeys(texts))
    limits = _limits(config)
    if not limits:
        return []
    longest = max(limit for _, limit in limits)
    cut = [text for text in distinct if not (text.isascii() and len(text) + MARKS <= longest)]
    for tokenizer, limit in limits:
        cut = [text for text, length in zip(cut, _lengths(tokenizer, cut), strict=True) if length > limit]
    if not cut:
        return []
    return [
        f"{len(cut)} of {plural(len(distinct), 'prompt')} have more than the {longest} tokens that {config.name} reads"
        f": their ends do nothing; shorten them (the first: {cut[0][:60]!r})"
    ]


def _lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Tokens of every text, with the marks of its start and end."""
    with quiet_loading():  # of every text beyond a limit there would be a warning
        parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        return [len(ids) for part in parts for ids in tokenizer(part, return_attention_mask=False)["input_ids"]]


def _limits(config: PolicyConfig) -> list[tuple[Callable[..., Any], int]]:
    """Each tokenizer that is used and is on this machine, and the most tokens that are read of it."""
    source = ModelSource.find(config.name, config.revision)
    outline = Outline.of(source)
    left_out = () if config.t5 else outline.family.dispensable
    found = []
    for component, kind in source.components.items():
        if component.startswith(("tokenizer", "processor")) and component not in left_out:
            tokenizer = _tokenizer(source, component, kind)
            if tokenizer is None:
                return []
            limit = _limit(outline, tokenizer, config)
            if limit > 1:  # else it reads the mark of the end alone
                found.append((tokenizer, limit))
    return found


def _tokenizer(source: ModelSource, component: str, kind: str) -> Any:
    """None where it is not on this machine."""
    where = {"subfolder": component, "revision": source.revision, "local_files_only": True}
    try:
        with quiet_loading():
            loaded = getattr(transformers, kind).from_pretrained(source.location, **where)
    except LOADING_ERRORS:
        return None
    return getattr(loaded, "tokenizer", loaded)  # of a processor that reads pictures as well


def _limit(outline: Outline, tokenizer: Any, config: PolicyConfig) -> int:
    """CLIP has as many tokens as positions; others are told how many, by the configuration or the pipeline itself."""
    usual = signature(outline.pipeline_class.__call__).parameters.get(outline.family.longest)
    if "CLIP" in type(tokenizer).__name__:
        return int(tokenizer.model_max_length)
    if outline.source.is_embedded:
        return EMBEDDED_TEXT_TOKENS
    if config.text_tokens is not None:
        return config.text_tokens
    if outline.family.reads is not None:
        return outline.family.reads
    return int(tokenizer.model_max_length if usual is None or usual.default is None else usual.default)
