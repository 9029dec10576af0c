"""What diversity means in two feature spaces: `python -m benchmarks.evidence.diversity`.

True pictures of the shapes world, drawn at random for a caption, against images of the embedded model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fdfo.config.tree import RewardConfig
from fdfo.drawing import generate
from fdfo.evaluation.diversity import diversity
from fdfo.evaluation.features import PIXELS, diversity_features
from fdfo.evaluation.statistics import bootstrap
from fdfo.models import load_policy
from fdfo.prompts import load_prompts
from fdfo.prompts.source import evenly_spread
from fdfo.records import Prompt
from fdfo.rewards.weighted import WeightedSum
from fdfo.shapes.grammar import parse
from fdfo.shapes.render import render
from fdfo.shapes.sampling import sample_scene

PROMPTS, IMAGES, STEPS = 144, 4, 10
SCORE = "shapes-contrastive"


def true_pictures(prompts: Sequence[Prompt]) -> Tensor:
    """Random pictures of every caption: [P IMAGES, 3, H, W]."""
    rng = np.random.default_rng(0)
    scenes = [sample_scene(parse(prompt.text), rng) for prompt in prompts for _ in range(IMAGES)]
    return torch.from_numpy(np.stack([render(scene, rng) for scene in scenes]))


def drawn(prompts: Sequence[Prompt], guidance: float) -> Tensor:
    """Images of the embedded model: [P IMAGES, 3, H, W]."""
    parts = generate(load_policy("shapes", guidance=guidance), prompts, steps=STEPS, images_per_prompt=IMAGES)
    return torch.cat([part.images for part in parts])


def main() -> None:
    scores = WeightedSum([RewardConfig(name=SCORE)])
    scores.load(torch.device("cpu"), torch.float32)
    prompts = evenly_spread(load_prompts(None, "shapes-validation"), PROMPTS)
    sources = {"true pictures": true_pictures(prompts)}
    sources |= {f"model, guidance {guidance:g}": drawn(prompts, guidance) for guidance in (1.0, 4.0)}
    print(f"diversity of {IMAGES} images of {PROMPTS} captions, 95 % intervals over captions")
    for name, images in sources.items():
        spread = [diversity(diversity_features(choice, scores.embedders)(images), IMAGES) for choice in (SCORE, PIXELS)]
        cells = [
            f"{choice} {bootstrap(values.numpy())}" for choice, values in zip((SCORE, PIXELS), spread, strict=True)
        ]
        print(f"{name:<20} {'   '.join(cells)}")


if __name__ == "__main__":
    main()
