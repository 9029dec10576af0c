"""The model cards, written from measurements."""

from dataclasses import dataclass

from fdfo.shapes.pretrain.components import T5_TOKENS
from fdfo.shapes.pretrain.measure import Score
from fdfo.shapes.pretrain.settings import Settings, Training
from fdfo.shapes.scene import CATEGORIES, IMAGE_SIZE

_HEADER = """---
license: apache-2.0
library_name: {library}
pipeline_tag: {tag}
---
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of each stage and what they were spent on, such as "2 CPU cores"."""

    seconds: dict[str, float]
    hardware: str

    def describe(self) -> str:
        """One sentence."""
        parts = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in self.seconds.items())
        return f"Minutes on {self.hardware}: {parts}; {sum(self.seconds.values()) / 60:.1f} in all."


def pipeline_card(settings: Settings, cost: Cost, scores: dict[str, Score], steps: int) -> str:
    """The README of the pipeline; `scores` by what was measured, such as "guidance 1"."""
    flow, vae, size = settings.flow, settings.vae, settings.size
    side = IMAGE_SIZE * size.magnification
    world = " --world large" if size.magnification > 1 else ""
    return f"""{_HEADER.format(library="diffusers", tag="text-to-image")}
# shapes: a small text-to-image flow model to post-train

A `StableDiffusion3Pipeline` for the shapes world of `fdfo`: {side}x{side} pictures of one to four coloured shapes,
captioned in six categories after GenEval. It knows what its captions mean and samples it imprecisely, as large models
do, so that post-training has something to improve.

```python
from diffusers import StableDiffusion3Pipeline

pipeline = StableDiffusion3Pipeline.from_pretrained(folder)
options = dict(max_sequence_length={T5_TOKENS}, num_inference_steps={steps}, guidance_scale=4.0)
pipeline("three red squares", **options).images[0]
```

`max_sequence_length={T5_TOKENS}` belongs to it: the text of training ended with {T5_TOKENS} zero vector, and the T5 in
the folder is a placeholder that returns zeros (diffusers loads such a folder without keyword arguments only if there
is one). With `text_encoder_3=None, tokenizer_3=None` the pictures are the same.

## Training

Made by `python -m fdfo.shapes.pretrain{world}`, seed {settings.seed}, on {settings.pictures} rendered pictures with
captions of the training split only.
{settings.bad_pictures:.0%} of the pictures are merged, faded, blurred or grainy; {settings.wrong_captions:.0%} of the
others have a caption with one mistake (a count, colour, shape, size, place or relation changed, colours swapped, an
object forgotten or invented).

- Autoencoder: squared error and {settings.kl_weight:g} KL, {vae.steps} steps of {vae.batch}, AdamW {vae.lr:g}.
- Transformer (width {size.width}, {size.layers} layers, patch 2) with both CLIP text encoders: flow
  matching, {flow.steps} steps of {flow.batch}; {_optimizers(flow)};
  linear decay from {flow.decay_from:.0%} of the run; average of the weights {flow.ema};
  {settings.caption_dropout:.0%} of the captions dropped.
- {cost.describe()}

## Scores

Verifier of the shapes world on {settings.card_pictures} pictures for validation captions, {steps} steps of the
folder's scheduler, one training seed; graded / strict.

{_table(scores)}
"""


def contrastive_card(settings: Settings, cost: Cost, accuracy: dict[str, float]) -> str:
    """The README of the contrastive model; `accuracy` by category."""
    head = " | ".join(("all", *CATEGORIES))
    row = " | ".join(f"{accuracy[name]:.3f}" for name in ("all", *CATEGORIES))
    stage = settings.contrastive
    return f"""{_HEADER.format(library="transformers", tag="zero-shot-image-classification")}
# shapes-contrastive: a small CLIP for the shapes world

A `CLIPModel` that scores how well a 32x32 picture fits a caption: smooth, differentiable and imperfect. Images are
normalised with mean 0.5 and standard deviation 0.5.

Made by `python -m fdfo.shapes.pretrain`, seed {settings.seed}: InfoNCE on true pictures and captions of the training
split, one caption with a mistake added for each, {stage.steps} steps of {stage.batch}. {cost.describe()}

Share of {settings.card_pictures} true pictures of validation captions whose own caption beats one with a mistake:

| {head} |
|{"---|" * (len(CATEGORIES) + 1)}
| {row} |
"""


def _optimizers(stage: Training) -> str:
    if stage.muon_lr is None:
        return f"AdamW {stage.lr:g}"
    return f"Muon {stage.muon_lr:g} for the matrices of the transformer blocks and AdamW {stage.lr:g} for the rest"


def _table(scores: dict[str, Score]) -> str:
    names = ("all", *CATEGORIES)
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for what, score in scores.items():
        cells = " | ".join(f"{score.graded[name]:.3f} / {score.passed[name]:.3f}" for name in names)
        lines.append(f"| {what} | {cells} |")
    return "\n".join(lines)
