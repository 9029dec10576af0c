"""`fdfo generate`: images of some prompts, base above trained."""

from pathlib import Path

import torch

from fdfo.commands.output import prepare_output
from fdfo.commands.subject import Subject, default_steps
from fdfo.errors import ConfigError
from fdfo.evaluation.generate import generate
from fdfo.evaluation.sheet import FORMATS, encoded, sheet
from fdfo.files import write_atomically
from fdfo.prompts import read_column
from fdfo.records import Prompt


def run_generate(
    subject: Subject, texts: list[str], file: Path | None, key: str | None, seeds: int, steps: int | None, output: Path
) -> None:
    """Write a sheet: under each prompt a row for each set of weights (base above trained), a column for each seed."""
    wanted = [Prompt(text=text) for text in texts] + (list(read_column(file, key).prompts) if file else [])
    if not wanted:
        raise ConfigError("the command line", ["give prompts, or --file"])
    prompts = [Prompt(text=prompt.text, metadata=prompt.metadata, number=i) for i, prompt in enumerate(wanted)]
    config = subject.config()
    prepare_output(output)
    if output.suffix.lower() not in FORMATS:
        raise ConfigError("the command line", [f"--output {output}: expected a name that ends in {', '.join(FORMATS)}"])
    subject.announce()
    policy = subject.load(config)
    labels = ["base", "trained"] if subject.has_adapter else ["base"]
    rows = []
    for weights in ("base", "current")[: len(labels)]:
        parts = generate(policy, prompts, steps=default_steps(steps, config), images_per_prompt=seeds, weights=weights)
        rows.append(torch.cat([part.images for part in parts]).unflatten(0, (len(prompts), seeds)))
    images = torch.stack(rows, 1)  # prompt, weights, seed
    pictures = (images.cpu() * 255).round().to(torch.uint8)
    write_atomically(output, encoded(sheet(pictures, [prompt.text for prompt in prompts], labels), output.suffix))
    height, width = images.shape[-2:]
    order = "base above trained, " if subject.has_adapter else ""
    print(f"wrote {output}: {len(prompts)} prompts, {order}{seeds} seeds, {height} x {width} pixels each")
