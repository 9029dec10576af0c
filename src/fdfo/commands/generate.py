"""`fdfo generate`: a sheet of some prompts, base above adapters, on the same seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdfo import __version__
from fdfo.commands.model_choice import ModelChoice, default_steps, labelled
from fdfo.commands.output import held_folder, prepared_output
from fdfo.commands.terminal import say
from fdfo.config.tree import Config
from fdfo.drawing import generate
from fdfo.errors import ConfigError
from fdfo.evaluation.dataset import refuse_foreign, write_dataset
from fdfo.evaluation.sheet import FORMATS, encoded, sheet, unwritten
from fdfo.evaluation.summary import BASE
from fdfo.files import write_atomically
from fdfo.interfaces import Policy, Weights
from fdfo.limits import MOST_STRENGTH
from fdfo.models.reading import reading_notes
from fdfo.prompts import read_column
from fdfo.records import Prompt
from fdfo.words import plural

SETTINGS = "fdfo"
"""Name of the PNG text that says how a sheet was made, as JSON."""

MODEL_SETTINGS = {"name", "revision", "resolution", "guidance", "negative_prompt", "text_tokens", "t5", "dtype"}
MODEL_SETTINGS |= {"quantize", "quantize_text"}


def run_generate(
    choices: Sequence[ModelChoice],
    texts: Sequence[str],
    file: Path | None,
    key: str | None,
    seeds: int,
    noise_seed: int,
    strengths: str,
    steps: int | None,
    output: Path,
) -> None:
    """Write a sheet: under each prompt a row for each set of weights (the base first), a column for each seed.

    `choices` differ in their adapter only; each is drawn at every one of the strengths, `0.5,1,1.5`.
    """
    wanted = [Prompt(text=text) for text in texts] + (list(read_column(file, key).prompts) if file else [])
    factors = _numbers(strengths)
    if not wanted:
        raise ConfigError("the command line", ["give prompts, or --file"])
    prompts = [Prompt(text=prompt.text, metadata=prompt.metadata, number=i) for i, prompt in enumerate(wanted)]
    config = choices[0].config()
    adapters = {label: one for label, one in labelled(choices, "trained").items() if one.has_adapter}
    if factors != [1.0] and not adapters:
        raise ConfigError("the command line", ["--strength: give --adapter or --run, whose strength it is"])
    is_folder = output.suffix == ""
    if not is_folder and output.suffix.lower() not in FORMATS:
        accepted = f"expected a name that ends in {', '.join(FORMATS)}, or of a folder"
        raise ConfigError("the command line", [f"--output {output}: {accepted}"])
    drawing = _Drawing(choices[0], adapters, config, factors, prompts, seeds, noise_seed, default_steps(steps, config))
    if is_folder:
        refuse_foreign(output)
    with held_folder(output) if is_folder else prepared_output(output):
        choices[0].announce()
        rows = drawing.rows()
        for line in reading_notes(choices[0].settings(config), [prompt.text for prompt in prompts]):
            say(line)
        _write(drawing, rows, output, is_folder)


def _write(drawing: "_Drawing", rows: Mapping[str, Tensor], output: Path, is_folder: bool) -> None:
    prompts, seeds = drawing.prompts, drawing.seeds
    images = torch.stack(list(rows.values()), 1)  # prompt, weights, seed
    pictures = (images * 255).round().to(torch.uint8)
    captions = [prompt.text for prompt in prompts]
    if is_folder:
        write_dataset(output, dict(zip(rows, pictures.unbind(1), strict=True)), captions, drawing.settings())
        count = pictures.shape[:3].numel()
        say(f"wrote {output}: {plural(count, 'picture')} and metadata.jsonl, a data set of the kind imagefolder")
        return
    columns = columns_of(drawing.noise_seed, seeds)
    drawn = sheet(pictures, captions, list(rows), columns)
    settings = json.dumps(drawing.settings(), ensure_ascii=False)
    write_atomically(output, encoded(drawn, output.suffix, {SETTINGS: settings}))
    if numbers := unwritten(captions):
        beside = output.with_suffix(".prompts.txt")
        write_atomically(beside, "".join(f"{number}\t{captions[number - 1]}\n" for number in numbers))
        say(f"wrote {beside}: the prompts that no font here can write; the sheet has their numbers")
    height, width = images.shape[-2:]
    order = f"{' above '.join(rows)}, " if len(rows) > 1 else ""
    what = f"{plural(len(prompts), 'prompt')}, {order}{plural(seeds, 'seed')}"
    say(f"wrote {output}: {what}, {height} x {width} pixels each")


def columns_of(noise_seed: int, seeds: int) -> list[str]:
    """Titles of the columns: the wanted seed where there is one picture, else the pictures drawn from it."""
    if seeds == 1:
        return [f"seed {noise_seed}"]
    drawn_from = f"seed {noise_seed}." if noise_seed else "seed "
    return [f"{drawn_from}{number}" for number in range(seeds)]


def _numbers(strengths: str) -> list[float]:
    """The numbers of `0.5,1,1.5`, once each. Raises ConfigError."""
    try:
        numbers = list(dict.fromkeys(float(part) for part in strengths.split(",")))
    except ValueError:
        numbers = []
    if not numbers or not all(abs(number) <= MOST_STRENGTH for number in numbers):
        accepted = f"expected numbers from -{MOST_STRENGTH:g} to {MOST_STRENGTH:g} with commas between, as 0.5,1,1.5"
        problem = f"--strength {strengths}: {accepted}"
        raise ConfigError("the command line", [problem])
    return numbers


@dataclass(frozen=True)
class _Drawing:
    """What a sheet shows."""

    base: ModelChoice
    adapters: Mapping[str, ModelChoice]
    config: Config | None
    strengths: Sequence[float]
    prompts: Sequence[Prompt]
    seeds: int
    noise_seed: int
    steps: int

    def rows(self) -> dict[str, Tensor]:
        """Images [P, S, 3, H, W] on the CPU by what drew them: the base, and every adapter at every strength."""
        rows: dict[str, Tensor] = {}
        for name, choice in (self.adapters or {BASE: self.base}).items():
            policy = choice.load(self.config)
            if not rows:
                rows[BASE] = self._draw(policy, "base")
            for strength in self.strengths if self.adapters else ():
                label = name if len(self.strengths) == 1 and strength == 1 else f"{name} at {strength:g}"
                if strength != 1:
                    policy.weights.strengthen(label, strength)
                rows[label] = self._draw(policy, "current" if strength == 1 else label)
                policy.weights.snapshots.pop(label, None)
            del policy  # before the next one comes
        return rows

    def _draw(self, policy: Policy, weights: Weights) -> Tensor:
        parts = generate(
            policy,
            self.prompts,
            steps=self.steps,
            seed=self.noise_seed,
            images_per_prompt=self.seeds,
            weights=weights,
        )
        return torch.cat([part.images.cpu() for part in parts]).unflatten(0, (len(self.prompts), self.seeds))

    def settings(self) -> dict[str, Any]:
        """All that determines the pictures, for who finds the file."""
        model = self.base.settings(self.config).model_dump(mode="json", include=MODEL_SETTINGS)
        adapters = {name: {"folder": str(one.folder), "sha256": one.digest()} for name, one in self.adapters.items()}
        return {
            "version": __version__,
            "model": model,
            "adapters": adapters,
            "strengths": list(self.strengths) if adapters else [],
            "steps": self.steps,
            "seeds": list(range(self.seeds)),
            "noise_seed": self.noise_seed,
            "prompts": [prompt.text for prompt in self.prompts],
        }
