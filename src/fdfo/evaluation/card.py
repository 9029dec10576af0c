"""The model card of a run's adapter, as huggingface_hub reads it, with a sheet of pictures beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from fdfo.config.tree import Config
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import read_grid
from fdfo.evaluation.runs import EPOCH, read_evaluations
from fdfo.evaluation.summary import BASE, Row, markdown, summary
from fdfo.own import numbered, sound
from fdfo.pictures import png, tile
from fdfo.visible import visible
from fdfo.words import plural

SHEET = "before-after.png"
SHOWN = 8
"""Prompts on the sheet, spread evenly over those whose pictures the run kept."""


UNNAMED = "prompts without a name"
HELD_OUT = "a part of the prompts"
"""What is judged on where the run set a part of its own prompts aside."""


@dataclass(frozen=True)
class Use:
    """How others find the adapter and draw with it."""

    repository: str
    """OWNER/NAME, or the folder that the card lies in."""
    base: str
    """The model's hub id, or the name of its folder."""
    is_on_hub: bool
    """Whether the base is."""
    code: str
    """Lines of Python for diffusers; `{prompt}` stands for a text."""
    size: tuple[int, int]
    """Height and width of the images in pixels."""


TEMPLATE = """---
{{ card_data }}
---

# {{ title }}

A LoRA for [{{ base }}]({{ link }}), trained with reinforcement learning by fdfo on its
own pictures{{ people }}. Method: `{{ method }}`. Score: {{ scores }}.

{% if shown %}![Before (above) and after (below), same prompts and noise](before-after.png)

*Above before, below after training; the same prompts and noise:* {{ shown }}.

{% endif %}## Numbers

{{ numbers }}

## Use

```python
{{ code }}
```

fdfo's guidance is {{ guidance }} (1 is off); the arguments above are those of its training and evaluation.

## Reproduce

{{ reproduce }}

- prompts: {{ prompts }}, {{ pairs }} an epoch
- training: {{ epochs }} epochs of {{ updates }} updates, learning rate {{ lr }}, seed {{ seed }}
- adapter: rank {{ rank }}, alpha {{ alpha }}; images of {{ size }}; {{ steps }} sampling steps

## Limits

It was trained to please {{ scores }}: what these scores do not see may have become worse. Look at pictures of your own
prompts.
"""


def asks_people(config: Config) -> bool:
    """Whether people's choices are a part of what is trained on."""
    return any(entry.name == "human" for entry in config.reward)


def model_card(
    run: Path, config: Config, epoch: int, use: Use, *, licence: str | None, reproduce: str
) -> tuple[ModelCard, bytes | None]:
    """The card of a run's checkpoint, and its sheet of pictures as PNG where the run has some.

    `reproduce` says how to train it again. Raises what reading the run raises.
    """
    evaluations = {one.epoch: one for one in read_evaluations(run)}
    rows = _rows(evaluations, epoch)
    sheet, titles = before_after(run, epoch)
    scores = " + ".join(("" if e.weight == 1 else f"{e.weight:g} x ") + f"`{e.title}`" for e in config.reward)
    data = ModelCardData(
        base_model=use.base if use.is_on_hub else None,
        license=licence,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["lora", "reinforcement-learning", "fdfo", "text-to-image"],
        model_name=use.repository.rpartition("/")[2] if rows else None,
        eval_results=[_result(row, config) for row in rows if row.gain is not None and row.category is None] or None,
    )
    prompt = repr(titles[0] if titles else "a photo of a cat")
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        title=visible(use.repository.rpartition("/")[2]),
        base=visible(use.base),
        link=f"https://huggingface.co/{use.base}" if use.is_on_hub else "#use",
        people=" and people's choices" if asks_people(config) else "",
        method=config.method.name,  # type: ignore[attr-defined]
        scores=visible(scores),
        shown="; ".join(visible(title) for title in titles),
        numbers=_numbers(rows, evaluations, epoch),
        code=use.code.replace("{prompt}", prompt),
        guidance=f"{config.policy.guidance:g}",
        reproduce=reproduce,
        prompts=visible(config.prompts.path or config.prompts.name or UNNAMED),
        pairs=config.prompts.pairs_per_epoch,
        epochs=epoch,
        updates=config.optim.updates_per_epoch,
        lr=f"{config.optim.lr:g}",
        seed=config.train.seed,
        rank=config.policy.adapter.rank,
        alpha=config.policy.adapter.alpha,
        size=f"{use.size[0]} x {use.size[1]} pixels",
        steps=config.eval.steps,
    )
    return card, sheet


def before_after(run: Path, epoch: int) -> tuple[bytes | None, list[str]]:
    """Pictures before training above those of an epoch, as PNG, and their prompts; None where the run has not both."""
    described = numbered(run / "samples", EPOCH, ".json")
    grids = [sound(described[n].with_suffix(".png"), read_grid) if n in described else None for n in (0, epoch)]
    if epoch == 0 or any(grid is None for grid in grids):
        return None, []
    (first, before), (_, after) = (grid for grid in grids if grid is not None)
    count = min(SHOWN, len(first.titles))
    chosen = [i * len(first.titles) // count for i in range(count)]
    pictures = [np.asarray(side[i].convert("RGB")) for side in (before, after) for i in chosen]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return png(tile(images, count)), [first.titles[i] for i in chosen]


def _rows(evaluations: Mapping[int, Evaluation], epoch: int) -> list[Row]:
    if 0 not in evaluations or epoch not in evaluations or epoch == 0:
        return []
    return summary({BASE: evaluations[0], "adapter": evaluations[epoch]})


def _numbers(rows: Sequence[Row], evaluations: Mapping[int, Evaluation], epoch: int) -> str:
    if not rows:
        return "This checkpoint was not evaluated; `fdfo eval` measures it."
    one = evaluations[epoch]
    prompts, images = plural(len(one.prompts), "held-out prompt"), plural(one.images_per_prompt, "image")
    head = f"{prompts} x {images} of {plural(one.steps, 'step')}"
    return f"{head}, before and after; in brackets 95 % intervals over prompts.\n\n{markdown(rows)}".rstrip()


def _result(row: Row, config: Config) -> EvalResult:
    prompts = config.prompts.eval_path or config.prompts.eval_name or HELD_OUT
    return EvalResult(
        task_type="text-to-image",
        dataset_type="prompts",
        dataset_name=Path(prompts).name,
        metric_type=row.score,
        metric_name=row.score,
        metric_value=round(row.mean.mean, 6),
    )
