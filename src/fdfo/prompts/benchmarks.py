"""Benchmarks of other groups as prompt lists, with what their judges need as metadata; fetched, never shipped.

Of the judges, only GenEval 2's is here (`vlm` with `questions_from`, rewards/soft_tifa.py); the others are models of
their own (UniGenBench, Qwen-Image-Bench, DPG-Bench) or sets of them (T2I-CompBench++). No file could be fetched where
this was written: columns and names are those that the publishers' own evaluation code reads.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fdfo.documents import parse_json
from fdfo.errors import PromptError
from fdfo.prompts.published import COMPBENCH_KINDS, read_list, read_table
from fdfo.records import Prompt

QUESTIONS = "questions"
"""Field of the metadata with [question, answer] pairs of a prompt, as `questions_from` of `vlm` takes them."""


def geneval2() -> list[Prompt]:
    """GenEval 2 (arXiv:2512.16853; CC BY-NC 4.0): 800 prompts with questions; how many atoms they have is the category.

    evaluation.py reads `prompt` and `vqa_list`, pairs of question and answer, which are `questions` here.
    """
    prompts = read_list("geneval2")
    return [
        _renamed(prompt, {"vqa_list": QUESTIONS}, category=f"{_of(prompt, 'atom_count')} atoms") for prompt in prompts
    ]


def unigenbench() -> list[Prompt]:
    """The short English prompts of UniGenBench++ (arXiv:2510.18701; MIT), with test points, by theme."""
    return _unigenbench("unigenbench")


def unigenbench_long() -> list[Prompt]:
    """The long English prompts of UniGenBench++."""
    return _unigenbench("unigenbench-long")


def longtext_en() -> list[Prompt]:
    """The English part of LongText-Bench (arXiv:2507.22058; Apache-2.0), with the text to draw for `ocr`."""
    return _longtext("longtext-en")


def longtext_zh() -> list[Prompt]:
    """The Chinese part of LongText-Bench."""
    return _longtext("longtext-zh")


def qwen_image_bench() -> list[Prompt]:
    """The English prompts of Qwen-Image-Bench (arXiv:2605.28091; Apache-2.0), with the dimensions they are judged by.

    The file has 185 MB: it holds the judge's answers about images of many models as well, which are left out.
    """
    prompts = read_list("qwen-image-bench", "prompt_en")
    return [replace(prompt, metadata=_picked(prompt, ("ID", "dims_en"))) for prompt in prompts]


def dpg() -> list[Prompt]:
    """The dense prompts of DPG-Bench (arXiv:2403.05135), each with its questions, whose answer is yes.

    The benchmark asks mPLUG, and counts a question only where those that it depends on were answered by yes.
    """
    questions: dict[tuple[str, str], list[list[str]]] = {}
    for row in read_table("dpg", ("item_id", "text", "question_natural_language")):
        asked = questions.setdefault((row["item_id"], row["text"]), [])
        asked.append([row["question_natural_language"], "Yes"])
    return [
        Prompt(text=text, metadata={"item_id": item, QUESTIONS: asked}) for (item, text), asked in questions.items()
    ]


def t2i_compbench() -> list[Prompt]:
    """The validation prompts of T2I-CompBench++ (arXiv:2307.06350; MIT), those that are evaluated, by their kind."""
    return [
        Prompt(text=prompt.text, metadata={"category": kind})
        for kind in COMPBENCH_KINDS
        for prompt in read_list(f"t2i-compbench-{kind}")
    ]


def _unigenbench(name: str) -> list[Prompt]:
    prompts = []
    for row in read_table(name, ("prompt_en", "sub_dims_en")):
        try:
            about = parse_json(row["sub_dims_en"])
            points = list(zip(about["Testpoints"], about["Testpoint Description"], strict=True))
            metadata = {"category": about["Primary Categories"], "testpoints": [list(pair) for pair in points]}
        except (KeyError, TypeError, ValueError) as error:
            raise PromptError(
                f"prompt list {name!r}: {row['prompt_en'][:80]!r} has no test points; delete it"
            ) from error
        prompts.append(Prompt(text=row["prompt_en"], metadata=metadata))
    return prompts


def _longtext(name: str) -> list[Prompt]:
    """Each text is a list of pieces, which the benchmark joins by spaces."""
    prompts = read_list(name)
    return [_renamed(prompt, {}, text=" ".join(map(str, _of(prompt, "text")))) for prompt in prompts]


def _of(prompt: Prompt, field: str) -> Any:
    if field not in prompt.metadata:
        raise PromptError(f"{prompt.text[:80]!r} has no field {field!r} in the file of its list; delete the file")
    return prompt.metadata[field]


def _picked(prompt: Prompt, fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: _of(prompt, field) for field in fields}


def _renamed(prompt: Prompt, names: Mapping[str, str], **more: Any) -> Prompt:
    """The prompt with fields of its metadata under other names, and more of them."""
    for field in names:
        _of(prompt, field)
    metadata = {names.get(field, field): value for field, value in prompt.metadata.items()}
    return replace(prompt, metadata=metadata | more)
