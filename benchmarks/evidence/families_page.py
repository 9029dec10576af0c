"""The page of families.py: `python -m benchmarks.evidence.families_page [DATA]` writes docs/reference/models.md."""

import json
import sys
from pathlib import Path
from typing import Any

from fdfo.models.architectures import ARCHITECTURES
from fdfo.models.families import FAMILIES, REFUSED, Family
from fdfo.models.inputs import knows_inputs

HEAD = """# Supported models

Written by `python -m benchmarks.evidence.families` from its measurements. A family is a class of diffusers' pipelines;
any folder or hub id whose `model_index.json` names that class can be `policy.name`, with weights of any size; so can
one of blocks alone, which has a `modular_model_index.json` (a `...ModularPipeline`).

"Guidance" says what the model's own pipeline calls the number that `policy.guidance` sets, and how it counts there:
here 1 is off, for all. "LoRA" is the method of diffusers that reads the file which `fdfo export` writes. "Trained" says
where this project's training of it can be read; "by nobody yet" means that only the measurements below are known, no
run. "Planned memory" is GiB for the weights of a published model in bfloat16 and one row of training at 512 pixels (a
LoRA, gradient checkpointing), as a [virtual card](../../benchmarks/memory/virtual/card.py) counts them
(`python -m benchmarks.memory.planned`); the plan that a dry run prints is within 15 %, and needs no download. Others
are planned as their configuration says, or once the first prompt was encoded, or not at all where the network's own
work depends on what it is given.

| pipeline | models | parity-tested | planned memory | guidance | LoRA | trained |
|---|---|---|---|---|---|---|
"""

MEASURES = """
## Measured

On tiny pipelines with random weights, in float32. Images (of [0, 1], 64 x 32 pixels, two prompts of different length)
are compared with those of the pipeline itself from the same noise, without guidance and with it; velocities of rows at
three times in one batch with those of each alone; gradients along a latent and along an adapter with differences,
relative to them; the adapter with what a fresh pipeline reads of its file. Each number is the largest difference. No
network of published size was compared. Kandinsky 5 draws only sizes of its list (here 640 x 1408), and its attention
rounds to bfloat16 in every precision: it is compared without that rounding, which makes a last digit a difference of up
to 2e-4.

| pipeline | images, plain | images, guided | rows | gradients | LoRA | seconds |
|---|---|---|---|---|---|---|
"""

REFUSALS = """
## Not supported

| pipeline | why |
|---|---|
"""

MODELS = {
    "StableDiffusion3Pipeline": "Stable Diffusion 3, 3.5 Medium; `shapes`",
    "StableDiffusion3Pipeline of SD3.5-Large": "Stable Diffusion 3.5 Large, Large Turbo",
    "FluxPipeline": "FLUX.1 (dev, schnell, Krea)",
    "Flux2Pipeline": "FLUX.2 dev",
    "Flux2KleinPipeline": "FLUX.2 klein (4B, 9B, base)",
    "ZImagePipeline": "Z-Image, Z-Image-Turbo",
    "QwenImagePipeline": "Qwen-Image",
    "Lumina2Pipeline": "Lumina-Image 2.0",
    "OvisImagePipeline": "Ovis-Image",
    "SanaPipeline": "SANA, SANA 1.5",
    "Krea2Pipeline": "Krea 2",
    "ChromaPipeline": "Chroma1",
    "AuraFlowPipeline": "AuraFlow",
    "CogView4Pipeline": "CogView4",
    "BriaPipeline": "Bria 3.2",
    "BriaFiboPipeline": "FIBO",
    "ErnieImagePipeline": "ERNIE-Image, without its prompt enhancer",
    "HunyuanImagePipeline": "HunyuanImage 2.1, not distilled, without its guiders",
    "WanPipeline": "Wan 2.1, one frame",
    "LongCatImagePipeline": "LongCat-Image, without rewriting of prompts",
    "NucleusMoEImagePipeline": "Nucleus-Image",
    "QwenImage21Pipeline": "Qwen-Image-2.1; its opacity on white",
    "Kandinsky5T2IPipeline": "Kandinsky 5 Image Lite",
    "PRXPipeline": "PRX with a latent space (512, 1024)",
    "Flux3ModularPipeline": "FLUX.3 klein, base, without its prompt upsampler",
    "AnimaModularPipeline": "Anima (needs torchvision)",
}
"""Published models by case."""

TRAINED = {"StableDiffusion3Pipeline": "`shapes`, [results](../results/demo.md); SD3.5 by nobody yet"}


def guidance(family: Family) -> str:
    """The pipeline's own number for what policy.guidance sets."""
    if family.scale is None:
        own = "none"
    elif family.off == 0:
        own = f"`{family.scale}` = `policy.guidance` - 1"
    else:
        own = f"`{family.scale}`"
    return own + (f"; `policy.embedded_guidance`: `{family.embedded}`" if family.embedded else "")


def memory(one: dict[str, Any], counted: dict[str, dict[str, float]]) -> str:
    """Of the published models of a case, in GiB."""
    is_large = "Large" in one["case"]
    found = [
        f"{name.partition('/')[2]} {gib['weights'] + gib['train']:.1f}"
        for name, gib in counted.items()
        if ARCHITECTURES[name]["model_index.json"]["_class_name"] == one["pipeline"]
        and (one["pipeline"] != "StableDiffusion3Pipeline" or ("-large" in name) == is_large)
    ]
    later = "from the first prompt on" if one["is_plannable"] else "not planned"
    return ", ".join(found) or ("as configured" if knows_inputs(one["pipeline"]) else later)


def model_line(one: dict[str, Any], counted: dict[str, dict[str, float]]) -> str:
    case, own = one["case"], guidance(FAMILIES[one["pipeline"]])
    loader = f"`{one['loader']}`" if one["loader"] else "none: `--to merged`"
    cells = (case, MODELS[case], "yes", memory(one, counted), own, loader, TRAINED.get(case, "by nobody yet"))
    return f"| {' | '.join(cells)} |"


def measured_line(one: dict[str, Any]) -> str:
    errors = (one[name] for name in ("images", "guided_images", "rows", "gradients", "lora"))
    cells = ("-" if error is None else f"{error:.0e}" if error else "0" for error in errors)
    return f"| {one['case']} | {' | '.join(cells)} | {one['seconds']:.1f} |"


def page(found: dict[str, Any], counted: dict[str, dict[str, float]]) -> str:
    """`counted` has the memory of published models, as benchmarks.memory.planned writes it."""
    measured = found["families"]
    models = [model_line(one, counted) for one in measured]
    refusals = [f"| {name} | {reason} |" for name, reason in REFUSED.items()]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    tables = (HEAD, models, MEASURES, map(measured_line, measured), REFUSALS, refusals)
    text = "".join(part if isinstance(part, str) else "\n".join(part) + "\n" for part in tables)
    dates = sorted({one["date"] for one in measured})
    return f"{text}\n{' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {versions}.\n"


def write_page(data: Path) -> None:
    """Write reference/models.md beside the folder of results."""
    found = json.loads(data.read_text(encoding="utf-8"))
    counted = json.loads((data.parent / "memory-families.json").read_text(encoding="utf-8"))["counted_gib"]
    (data.parents[2] / "reference" / "models.md").write_text(page(found, counted), encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results/data/families.json"))
