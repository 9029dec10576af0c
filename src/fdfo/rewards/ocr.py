"""How well a picture spells the text that its prompt quotes, from 0 to 1.

1 - edit distance / length of the text, and 1 where the text is found inside what is read; case and white space do not
count. Follows the OCR score of Flow-GRPO (arXiv:2505.05470, flow_grpo/ocr.py). Departures:

1. The text is the prompt's first one in double quotes, straight or curly, or the field `text` of the metadata, and not
   whatever follows the first quotation mark. Without either, the image cannot be judged: NaN.
2. RapidOCR reads (PaddleOCR's models on ONNX), which needs no second deep learning framework.

B images with one prompt each.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fdfo.errors import RewardError, install_advice
from fdfo.guard.contact import Guard
from fdfo.guard.files import find_in_file, is_file_name

Reader = Callable[[Image.Image], Sequence[str]]
"""Picture -> the lines of text in it, in reading order."""

_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”')


class OcrAccuracy:
    """Share of the quoted text that is spelled right; needs the extra [ocr]."""

    differentiable = False

    def __init__(self, *, reader: str = "rapidocr"):
        """reader is rapidocr, or path/to/file.py:function, a function of a Pillow image that returns lines of text.

        Raises RewardError for another one.
        """
        if reader != "rapidocr" and not is_file_name(reader):
            raise RewardError(f"reward 'ocr': reader must be rapidocr or path/to/file.py:function, got {reader!r}")
        self._name = reader
        self._read: Reader | None = None

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Load the reader, on the CPU. Raises RewardError when it is not there."""
        self._read = _rapidocr() if self._name == "rapidocr" else _own_reader(self._name)

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32 on the CPU of images [B, 3, H, W] in [0, 1]; NaN where no text is asked for."""
        assert self._read is not None, "load() comes first"
        levels = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        scores = []
        for picture, prompt, entry in zip(levels, prompts, metadata, strict=True):
            wanted = _plain(wanted_text(prompt, entry))
            found = self._read(Image.fromarray(np.ascontiguousarray(picture))) if wanted else []
            scores.append(spelled(wanted, _plain("".join(found))) if wanted else float("nan"))
        return torch.tensor(scores, dtype=torch.float32)


def _own_reader(name: str) -> Reader:
    """A function of a user's file, whose lines are one text here. Raises RewardError when it cannot be used."""
    guard = Guard(f"reward 'ocr', reader {name!r}", RewardError)
    read = find_in_file(name, guard.what, RewardError, "def read(picture)")
    return lambda picture: guard("on a picture", lambda: ["".join(read(picture))])


def wanted_text(prompt: str, metadata: Mapping[str, Any]) -> str:
    """The text that a picture shall show; empty when none is named."""
    if "text" in metadata:
        return str(metadata["text"])
    quoted = _QUOTED.search(prompt)
    return "" if quoted is None else quoted[1] or quoted[2] or ""


def spelled(wanted: str, found: str) -> float:
    """1 when the wanted text is in the found one, less the share of letters to change, at least 0."""
    if wanted in found:
        return 1.0
    return max(0.0, 1 - edit_distance(wanted, found) / len(wanted))


def edit_distance(a: str, b: str) -> int:
    """Fewest letters to insert, delete or replace that turn one text into the other (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        before, row = row, [i]
        for j, other in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other)))
    return row[-1]


def _plain(text: str) -> str:
    return "".join(text.split()).lower()


def _rapidocr() -> Reader:
    try:
        from rapidocr import RapidOCR  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RewardError(
            f"reward 'ocr': {error}; {install_advice('rapidocr', 'onnxruntime')}, or name a reader of your own"
        ) from error
    engine = RapidOCR()
    return lambda picture: engine(picture).txts or ()
