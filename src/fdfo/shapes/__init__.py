"""The embedded world: captioned 32x32 pictures, their verifier, and the models pre-trained on them.

Importing this package loads no torch.
"""

from pathlib import Path

from fdfo.shapes.grammar import category, parse
from fdfo.shapes.splits import Caption, captions, interleaved, split_of

__all__ = [
    "CONTRASTIVE",
    "PIPELINE",
    "Caption",
    "captions",
    "category",
    "interleaved",
    "is_of_this_world",
    "parse",
    "split_of",
]

PIPELINE = Path(__file__).parent / "assets" / "pipeline"
"""Folder of the pre-trained `diffusers.StableDiffusion3Pipeline`; its text is sampled with `max_sequence_length=1`."""
CONTRASTIVE = Path(__file__).parent / "assets" / "contrastive"
"""Folder of the `transformers.CLIPModel` and its processor."""


def is_of_this_world(pipeline: Path) -> bool:
    """Whether a pipeline folder reads the words of this world alone: made by its script, or exported from its runs."""
    words = Path("tokenizer") / "tokenizer.json"
    return (pipeline / words).is_file() and (pipeline / words).read_bytes() == (PIPELINE / words).read_bytes()
