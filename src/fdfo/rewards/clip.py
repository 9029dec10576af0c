"""CLIP-like rewards: any CLIP model, PickScore (arXiv:2305.01569), and the embedded model of the shapes world.

Each is a ContrastiveScore, exp(logit scale) x cosine of the embeddings, with its own published model. Options: model
is a folder or hub id with a transformers CLIPModel in safetensors; processor (default: the model) has the tokenizer and
the image processor; revision and
processor_revision pin them; batch_size images are embedded at a time; dtype is the network's.
"""

from importlib.resources import files

from fdfo.config.bounds import Images
from fdfo.rewards.contrastive import ContrastiveScore


class ClipScore(ContrastiveScore):
    """Agreement of image and prompt by a CLIP model of your choice; about 15 to 35 for OpenAI's models."""

    def __init__(
        self,
        *,
        model: str = "openai/clip-vit-large-patch14",
        revision: str | None = None,
        processor: str | None = None,
        processor_revision: str | None = None,
        batch_size: Images = 32,
        dtype: str = "float32",
    ):
        """Raises RewardError for unusable options."""
        super().__init__(
            "clip",
            model=model,
            revision=revision,
            processor=processor,
            processor_revision=processor_revision,
            batch_size=batch_size,
            dtype=dtype,
        )


class PickScore(ContrastiveScore):
    """What people prefer, learned from Pick-a-Pic; about 20 to 23 (logits, not divided by 26). 4 GB to download."""

    def __init__(
        self,
        *,
        model: str = "yuvalkirstain/PickScore_v1",
        revision: str | None = None,
        processor: str | None = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        processor_revision: str | None = None,
        batch_size: Images = 32,
        dtype: str = "float32",
    ):
        """The defaults are the published model and processor; give folders for copies of them."""
        super().__init__(
            "pickscore",
            model=model,
            revision=revision,
            processor=processor,
            processor_revision=processor_revision,
            batch_size=batch_size,
            dtype=dtype,
        )


class ShapesContrastive(ContrastiveScore):
    """Agreement of image and caption by the embedded model of the shapes world; it plays PickScore's part there."""

    def __init__(self, *, batch_size: Images = 64):
        """The model is in the package."""
        folder = str(files("fdfo") / "shapes" / "assets" / "contrastive")
        super().__init__("shapes-contrastive", model=folder, batch_size=batch_size)
