"""Human Preference Score v2 and v2.1 (arXiv:2306.09341): a CLIP-H fine-tuned on people's choices.

Departures from the authors' package:
1. Scores are 100 x cosine, about 28, where theirs are the cosine; so they are usually quoted.
2. Both versions are published as pickles only. They are converted to safetensors once (pickled.py).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fdfo.errors import RewardError
from fdfo.rewards.contrastive import ContrastiveScore
from fdfo.rewards.open_clip import as_transformers
from fdfo.rewards.pickled import published_file, read_pickled

_TRANSFORMERS_COPY = "adams-story/HPSv2-hf"
_ARCHITECTURE = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
_SCALE = 100.0


class HpsV2(ContrastiveScore):
    """What people prefer, learned from Human Preference Dataset v2; about 28. 2 GB to download."""

    def __init__(
        self,
        *,
        version: str | float = "2.0",
        model: str | None = None,
        processor: str = _ARCHITECTURE,
        revision: str | None = None,
        batch_size: int = 32,
    ):
        """version 2.0 is adams-story/HPSv2-hf, 2.1 the authors' xswu/HPSv2.

        model, a folder or hub id with a transformers CLIPModel in safetensors, takes the place of both; revision is
        that of the weights. Raises RewardError for unusable options.
        """
        published = {"2.0": (_TRANSFORMERS_COPY, _read_2_0), "2.1": (_ARCHITECTURE, _read_2_1)}
        if str(version) not in published:
            raise RewardError(f"reward 'hpsv2': version must be one of {', '.join(published)}, got {version!r}")
        source, read = published[str(version)]
        super().__init__(
            "hpsv2",
            model=model or source,
            processor=processor,
            revision=revision if model else None,
            batch_size=batch_size,
            scale=_SCALE,
            read_weights=None if model else lambda: read(revision),
        )


def _read_2_0(revision: str | None) -> dict[str, Tensor]:
    return read_pickled(published_file(_TRANSFORMERS_COPY, "pytorch_model.bin", revision), _as_it_is)


def _read_2_1(revision: str | None) -> dict[str, Tensor]:
    return read_pickled(published_file("xswu/HPSv2", "HPS_v2.1_compressed.pt", revision), as_transformers)


def _as_it_is(weights: Mapping[str, Any]) -> Mapping[str, Tensor]:
    return {name: value for name, value in weights.items() if not name.endswith("position_ids")}  # older transformers
