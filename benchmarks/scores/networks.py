"""Networks of scores from their configurations, with random weights made where they will be: nothing is downloaded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleDict
from transformers import BlipConfig, BlipTextModel, BlipVisionModel, PreTrainedModel

from fdfo.rewards import image_reward

HEAD_WIDTHS = (1024, 128, 64, 16, 1)
"""Of the layers of ImageReward's and the aesthetic predictor's head; dropout between them is off."""
HEAD_PLACES = (0, 2, 4, 6, 7)
"""Their numbers in both published networks."""


def random_network(
    kind: type[PreTrainedModel], config: Any, device: torch.device, dtype: torch.dtype, **more: Any
) -> Any:
    """A network of this class, configuration and further arguments, in evaluation mode."""
    with torch.device(device):
        return kind._from_config(config, dtype=dtype, **more).eval()


def random_head(width: int) -> dict[str, Tensor]:
    """Weights of an affine head on embeddings of this width, by their published names: `layers.0.weight` and so on."""
    sizes = zip(HEAD_PLACES, pairwise((width, *HEAD_WIDTHS)), strict=True)
    return ModuleDict({"layers": ModuleDict({str(place): Linear(*size) for place, size in sizes})}).state_dict()


@contextmanager
def random_weights(device: torch.device) -> Iterator[list[Module]]:
    """Inside, reading a network from a folder makes one of the folder's configuration, with random weights on `device`.

    Nothing else of what a score does to load is replaced. The networks are added to the list that is given.
    """
    made: list[Module] = []

    def read(kind: Any, folder: str, *_: Any, config: Any = None, **options: Any) -> Any:
        config = config or kind.config_class.from_pretrained(folder)
        network = random_network(kind, config, device, options.get("dtype", torch.float32))
        made.append(network)
        return (network, {"missing_keys": []}) if options.get("output_loading_info") else network

    with (
        torch.device(device),
        patch.object(PreTrainedModel, "from_pretrained", classmethod(read)),
        patch.object(image_reward, "read_pickled", lambda path, arrange: _random_blip(path.parent, device)),
    ):
        yield made


def _random_blip(folder: Path, device: torch.device) -> Mapping[str, Tensor]:
    """ImageReward's weights under the names that its loader gives them."""
    config = BlipConfig.from_pretrained(folder)
    vision = random_network(BlipVisionModel, config.vision_config, device, torch.float32)
    text = random_network(BlipTextModel, config.text_config, device, torch.float32, add_pooling_layer=False)
    head = {
        f"head.{name.removeprefix('layers.')}": value for name, value in random_head(text.config.hidden_size).items()
    }
    return {**ModuleDict({"vision": vision, "text": text}).state_dict(), **head}
