"""Human Preference Score v2 and v2.1 (arXiv:2306.09341): a CLIP-H fine-tuned on people's choices.

Departures from the authors' package:
1. Scores are 100 x cosine, about 28, where theirs are the cosine; so they are usually quoted.
2. Both versions are published as pickles only. They are converted to safetensors once (pickled.py).
3. Images are resized as transformers does it (preprocess.py), clipped to [0, 1] after each pass. The authors' transform
   resizes a tensor by torchvision, without clipping, and in old versions of torchvision without its anti-aliasing. As
   theirs, images that are not square are shown whole, with black beside them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fdfo.config.bounds import Images
from fdfo.rewards.contrastive import ContrastiveScore
from fdfo.rewards.open_clip import as_transformers
from fdfo.rewards.pickled import published_file, read_pickled

_ARCHITECTURE = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
_SCALE = 100.0


class HpsV2(ContrastiveScore):
    """What people prefer, learned from Human Preference Dataset v2; about 28. 2 GB to download."""

    def __init__(
        self,
        *,
        model: str = "adams-story/HPSv2-hf",
        revision: str | None = None,
        processor: str = _ARCHITECTURE,
        processor_revision: str | None = None,
        batch_size: Images = 32,
        dtype: str = "float32",
    ):
        """model is adams-story/HPSv2-hf (version 2.0), xswu/HPSv2 (the authors', for version 2.1), or a folder or hub
        id with a transformers CLIPModel in safetensors. Raises RewardError for unusable options.
        """
        published = PICKLES.get(model)
        super().__init__(
            "hpsv2",
            model=published.config if published else model,
            revision=revision if published is None or published.config == model else None,  # the weights' own below
            processor=processor,
            processor_revision=processor_revision,
            batch_size=batch_size,
            dtype=dtype,
            scale=_SCALE,
            read_weights=(lambda: published.read(model, revision)) if published else None,
            whole=True,
        )


@dataclass(frozen=True)
class Pickle:
    """Weights that a hub id has as a pickle only."""

    file: str
    config: str
    """Where the network's config.json is."""
    arrange: Callable[[Any], Mapping[str, Tensor]]

    def read(self, model: str, revision: str | None) -> dict[str, Tensor]:
        """The weights under transformers' names. Raises what reading a file raises."""
        return read_pickled(published_file(model, self.file, revision), self.arrange)


def _as_it_is(weights: Mapping[str, Any]) -> Mapping[str, Tensor]:
    return {name: value for name, value in weights.items() if not name.endswith("position_ids")}  # older transformers


PICKLES = {
    "adams-story/HPSv2-hf": Pickle("pytorch_model.bin", "adams-story/HPSv2-hf", _as_it_is),
    "xswu/HPSv2": Pickle("HPS_v2.1_compressed.pt", _ARCHITECTURE, as_transformers),
}
