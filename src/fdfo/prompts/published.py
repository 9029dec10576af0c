"""Prompt lists that their publishers distribute: fetched on first use, checked against a digest, kept in a cache.

The digest is that of the file that was looked at, or, where the address names a commit, that of the first fetch.

The cache is `fdfo/prompts` below $XDG_CACHE_HOME or ~/.cache. Nothing is shipped with this package.
"""

import csv
import hashlib
import io
import urllib.error
import urllib.request
from collections.abc import Sequence
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
_GENEVAL2 = "https://raw.githubusercontent.com/facebookresearch/GenEval2/a6e82d2289e8d418f27f0adee77908b07060eea3"
_UNIGEN = "https://raw.githubusercontent.com/CodeGoat24/UniGenBench/202e3714d4f548846ef9b487df4f601df38439db/data"
_LONGTEXT = "https://raw.githubusercontent.com/X-Omni-Team/X-Omni/2b8237bb3789638c290eeda3e83ed81bd3652c3b/textbench"
_QWEN = "https://huggingface.co/datasets/Qwen/Qwen-Image-Bench/resolve/d2493deb153b020cf169c7e3f57d15e4dd697038"
_ELLA = "https://raw.githubusercontent.com/TencentQQGYLab/ELLA/e1c36191243b4bfca8701f7ca3004bd257a32499"
_COMPBENCH = "https://raw.githubusercontent.com/Karine-Huang/T2I-CompBench/f4466258fdf6c046a8724c1ee8f15c681150fcd1"
_HPD = "https://huggingface.co/datasets/zhwang/HPDv2/resolve/260dbde75ab1c68e86d32a8e7739f1b49b100578/benchmark"
HPD_STYLES = ("anime", "concept-art", "paintings", "photo")
COMPBENCH_KINDS = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")


@dataclass(frozen=True)
class Published:
    """One file of a publisher."""

    url: str
    sha256: str | None = None
    """Digest of the version that was looked at; None where the address names a commit, whose content stays the same."""
    largest_bytes: int = LARGEST_BYTES
    """A larger file is refused."""


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
    "geneval2": Published(
        f"{_GENEVAL2}/geneval2_data.jsonl", "09233adbc9f877fba205f1a20efa4a8640e7e62a91dfd55893562bed8a928e43"
    ),
    "unigenbench": Published(f"{_UNIGEN}/test_prompts_en.csv"),
    "unigenbench-long": Published(f"{_UNIGEN}/test_prompts_en_long.csv"),
    "longtext-en": Published(f"{_LONGTEXT}/text_prompts.jsonl"),
    "longtext-zh": Published(f"{_LONGTEXT}/text_prompts_zh.jsonl"),
    "qwen-image-bench": Published(
        f"{_QWEN}/qwen_image_bench_hf_v0518.jsonl",
        "3def4dbb901bc75a13b755864e288a6e8f9a50010c1310129f57a7a84f44c005",
        largest_bytes=2**28,
    ),
    "dpg": Published(f"{_ELLA}/dpg_bench/dpg_bench.csv"),
    **{f"t2i-compbench-{kind}": Published(f"{_COMPBENCH}/examples/dataset/{kind}_val.txt") for kind in COMPBENCH_KINDS},
}
"""Files of publishers, most of one list each. The lists' licences stand in docs/reference/prompts.md."""


def drawbench() -> list[Prompt]:
    """DrawBench (arXiv:2205.11487), as repeated in DiffusionNFT."""
    return read_list("drawbench")


def geneval() -> list[Prompt]:
    """GenEval (arXiv:2310.11513) with its checks as metadata, as repeated in Flow-GRPO; its tag is the category."""
    prompts = read_list("geneval")
    return [replace(prompt, metadata={"category": prompt.metadata["tag"], **prompt.metadata}) for prompt in prompts]


def ocr_test() -> list[Prompt]:
    """Prompts that quote the text to draw, test part (Flow-GRPO)."""
    return read_list("ocr-test")


def pickscore_train() -> list[Prompt]:
    """Prompts of Pick-a-Pic (arXiv:2305.01569), training part (Flow-GRPO)."""
    return read_list("pickscore-train")


def pickscore_test() -> list[Prompt]:
    """Prompts of Pick-a-Pic, test part (Flow-GRPO)."""
    return read_list("pickscore-test")


def parti() -> list[Prompt]:
    """PartiPrompts P2 (arXiv:2206.10789), with their category."""
    return _by_category("parti", "Prompt", "Category", delimiter="\t", quoting=csv.QUOTE_NONE)


def oneig() -> list[Prompt]:
    """The English prompts of OneIG-Bench (arXiv:2506.07977), with their category."""
    return _by_category("oneig", "prompt_en", "category")


def hpdv2() -> list[Prompt]:
    """The 3200 benchmark prompts of HPSv2 (arXiv:2306.09341), 800 of each style, with the style as category."""
    return [Prompt(text=text, metadata={"category": style}) for style in HPD_STYLES for text in _hpdv2(style)]


def _hpdv2(style: str) -> list[str]:
    path = file_of(f"hpdv2-{style}")
    try:
        texts = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise PromptError(f"prompt list 'hpdv2': {path} is not a JSON list of texts; delete it")
    return texts


def _by_category(name: str, text: str, category: str, **form: Any) -> list[Prompt]:
    rows = read_table(name, (text, category), **form)
    return [Prompt(text=row[text], metadata={"category": row[category]}) for row in rows]


def read_table(name: str, columns: Sequence[str], **form: Any) -> list[dict[str, str]]:
    """The rows of a table with these columns; form as csv takes it. Raises PromptError."""
    path = file_of(name)
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), **form))
        if not rows:
            raise ValueError("it is empty")
        return [{column: row[column] or "" for column in columns} for row in rows]
    except (KeyError, ValueError, csv.Error) as error:
        problem = f"{path} is no table with the columns {' and '.join(columns)}; delete it"
        raise PromptError(f"prompt list {name!r}: {problem}") from error


def read_list(name: str, key: str | None = None) -> list[Prompt]:
    """The prompts of a file, of a table from its column `key`.

    Raises PromptError when the list can neither be found in the cache nor fetched.
    """
    return list(read_prompts(file_of(name), key).prompts)


def file_of(name: str) -> Path:
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
            content = answer.read(source.largest_bytes)
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
