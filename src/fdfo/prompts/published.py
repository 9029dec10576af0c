"""Prompt lists that their publishers distribute: fetched on first use, checked against a digest, kept in a cache.

The digest is that of the file that was looked at, or, where the address names a commit, that of the first fetch.

The cache is `fdfo/prompts` below $XDG_CACHE_HOME or ~/.cache. Nothing is shipped with this package.
"""

import csv
import hashlib
import io
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fdfo.documents import parse_json
from fdfo.errors import PromptError
from fdfo.files import cache_folder, write_atomically
from fdfo.prompts.files import read_prompts
from fdfo.records import Prompt

TIMEOUT_S = 30.0
LARGEST_BYTES = 32 * 2**20

_FLOW_GRPO = "https://raw.githubusercontent.com/yifan123/flow_grpo/main/dataset"
_DIFFUSION_NFT = "https://raw.githubusercontent.com/NVlabs/DiffusionNFT/main/dataset"
_PARTI = "https://raw.githubusercontent.com/google-research/parti/2c99f6652cbc7f0d0441aa91f4c7e7055bcb0071"
_ONEIG = "https://raw.githubusercontent.com/OneIG-Bench/OneIG-Benchmark/21a6b50d667687eaae46bbb1829ca49ecd76140b"
_HPD = "https://huggingface.co/datasets/zhwang/HPDv2/resolve/260dbde75ab1c68e86d32a8e7739f1b49b100578/benchmark"
HPD_STYLES = ("anime", "concept-art", "paintings", "photo")


@dataclass(frozen=True)
class Published:
    """One file of a publisher."""

    url: str
    sha256: str | None = None
    """Digest of the version that was looked at; None where the address names a commit, whose content stays the same."""


LISTS = {
    "drawbench": Published(
        f"{_DIFFUSION_NFT}/drawbench/test.txt", "9006b98feabb94b28a2bc0c88de42fd4f31a9ec3c2a19e308a02c5385b7172f0"
    ),
    "geneval": Published(
        f"{_FLOW_GRPO}/geneval/test_metadata.jsonl", "cec4b24b9fee7bac21c8f787054ecc8dc9ff831674037713a4cd35e0f0a74a28"
    ),
    "ocr-test": Published(
        f"{_FLOW_GRPO}/ocr/test.txt", "4dd8caf3ab6ade73bd376c7d14c6ca49b6eacfb1bd321e22c40714ae4a98d4dc"
    ),
    "pickscore-test": Published(
        f"{_FLOW_GRPO}/pickscore/test.txt", "d75c025fa451866e70f7e36243f7cdd93095523cb51f5f9651f2ce3236d20262"
    ),
    "pickscore-train": Published(
        f"{_FLOW_GRPO}/pickscore/train.txt", "2f425adcbb9a6d0feee7c6c448e1cb83a1f71deca9434b803907e2578eca837f"
    ),
    "oneig": Published(f"{_ONEIG}/OneIG-Bench.csv"),
    "parti": Published(f"{_PARTI}/PartiPrompts.tsv"),
    **{f"hpdv2-{style}": Published(f"{_HPD}/{style}.json") for style in HPD_STYLES},
}
"""Published with Flow-GRPO (MIT), DiffusionNFT (Apache-2.0), Parti (Apache-2.0), HPSv2 (Apache-2.0) and OneIG-Bench."""


def drawbench() -> list[Prompt]:
    """DrawBench (arXiv:2205.11487), as repeated in DiffusionNFT."""
    return _load("drawbench")


def geneval() -> list[Prompt]:
    """GenEval (arXiv:2310.11513) with its checks as metadata, as repeated in Flow-GRPO; its tag is the category."""
    prompts = _load("geneval")
    return [replace(prompt, metadata={"category": prompt.metadata["tag"], **prompt.metadata}) for prompt in prompts]


def ocr_test() -> list[Prompt]:
    """Prompts that quote the text to draw, test part (Flow-GRPO)."""
    return _load("ocr-test")


def pickscore_train() -> list[Prompt]:
    """Prompts of Pick-a-Pic (arXiv:2305.01569), training part (Flow-GRPO)."""
    return _load("pickscore-train")


def pickscore_test() -> list[Prompt]:
    """Prompts of Pick-a-Pic, test part (Flow-GRPO)."""
    return _load("pickscore-test")


def parti() -> list[Prompt]:
    """PartiPrompts P2 (arXiv:2206.10789), with their category."""
    return _table("parti", "Prompt", "Category", delimiter="\t", quoting=csv.QUOTE_NONE)


def oneig() -> list[Prompt]:
    """The English prompts of OneIG-Bench (arXiv:2506.07977), with their category."""
    return _table("oneig", "prompt_en", "category")


def hpdv2() -> list[Prompt]:
    """The 3200 benchmark prompts of HPSv2 (arXiv:2306.09341), 800 of each style, with the style as category."""
    return [Prompt(text=text, metadata={"category": style}) for style in HPD_STYLES for text in _hpdv2(style)]


def _hpdv2(style: str) -> list[str]:
    path = _file(f"hpdv2-{style}")
    try:
        texts = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise PromptError(f"prompt list 'hpdv2': {path} is not a JSON list of texts; delete it")
    return texts


def _table(name: str, text: str, category: str, **form: Any) -> list[Prompt]:
    """The prompts of a table with these columns; form as csv takes it. Raises PromptError."""
    path = _file(name)
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), **form))
        if not rows:
            raise ValueError("it is empty")
        return [Prompt(text=row[text], metadata={"category": row[category]}) for row in rows]
    except (KeyError, ValueError, csv.Error) as error:
        problem = f"{path} is no table with the columns {text} and {category}; delete it"
        raise PromptError(f"prompt list {name!r}: {problem}") from error


def _load(name: str) -> list[Prompt]:
    """Raises PromptError when the list can neither be found in the cache nor fetched."""
    return list(read_prompts(_file(name)).prompts)


def _file(name: str) -> Path:
    """A published file in the cache, fetched where it is not there or not what it was. Raises PromptError."""
    source = LISTS[name]
    path = cache_folder("prompts") / f"{name}{Path(source.url).suffix}"
    record = path.with_name(f"{path.name}.sha256")
    is_there = path.is_file()
    expected = source.sha256 or (record.read_text().strip() if is_there and record.is_file() else None)
    if not is_there or expected not in (None, _digest(path.read_bytes())):
        content = _fetch(name, path, expected)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, f"{_digest(content)}\n")
        write_atomically(path, content)
    return path


def _fetch(name: str, path: Path, expected: str | None) -> bytes:
    source = LISTS[name]
    instead = "give a file of your own in place of the list"
    try:
        with urllib.request.urlopen(source.url, timeout=TIMEOUT_S) as answer:
            content = answer.read(LARGEST_BYTES)
            if answer.length:
                raise OSError(f"{answer.length} bytes are missing")
    except (OSError, urllib.error.URLError) as error:
        raise PromptError(
            f"prompt list {name!r}: cannot fetch {source.url} ({error}); save it as {path}, or {instead}"
        ) from error
    if expected not in (None, _digest(content)):
        raise PromptError(
            f"prompt list {name!r}: {source.url} is not the file that was checked; look at it, then {instead}"
        )
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
