"""Options and arguments that several commands take."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from fdfo.errors import ConfigError
from fdfo.limits import (
    LARGEST_SEED,
    MOST_GUIDANCE,
    MOST_IMAGES,
    MOST_PIXELS,
    MOST_PROCESSES,
    MOST_SECONDS,
    MOST_STEPS,
)


def _number(value: float | None) -> float | None:
    """Not NaN, which every range lets through."""
    if value is None or value == value:
        return value
    raise typer.BadParameter(f"expected a number, got {value}")


def _known_scores(rewards: str | None) -> str | None:
    """Scores by names that exist, before anything heavy is imported. Raises ConfigError."""
    if rewards is not None:
        from fdfo.commands.score_list import score_list
        from fdfo.config.checks import name_problems

        if problems := name_problems({"reward": score_list(rewards)}):
            raise ConfigError("--rewards", problems)
    return rewards


RunOption = Annotated[
    Path | None, typer.Option("--run", help="Folder of a training run: its model, prompts and scores.")
]
RunFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--run",
        "--run-dir",  # torchrun takes a bare --run for an abbreviation of its own --run-path
        help="Run folder; one that holds a run is continued, by its own configuration where no recipe is given. "
        "Default: a new one below runs/.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration and the plan, and stop.")
]
ChangedInputsOption = Annotated[
    bool,
    typer.Option("--changed-inputs", help="Go on although prompts, code or files are not what the run began with."),
]
ProcessesOption = Annotated[
    int,
    typer.Option(
        "--processes",
        help="Processes on this machine that train together: one for each GPU; on a CPU one for each core is fastest.",
        min=1,
        max=MOST_PROCESSES,
    ),
]
ModelOption = Annotated[str | None, typer.Option("--model", help="shapes, a pipeline folder or a hub id.")]
AdaptersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        help="LoRA file or folder (PEFT, diffusers, kohya), checkpoint, run, or OWNER/REPOSITORY:SUBFOLDER or :FILE "
        "of the hub; default: the run's best. Repeat it to compare several.",
    ),
]
StrengthOption = Annotated[
    str, typer.Option("--strength", help="Of the adapter's change, as 0.5,1,1.5: a row of the sheet for each.")
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", help="Sampling steps; default: the run's, or 40.", min=1, max=MOST_STEPS)
]
GuidanceOption = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        help="Guidance; default: the run's, or 1.",
        min=0.0,
        max=MOST_GUIDANCE,
        callback=_number,
        metavar="FLOAT",
    ),
]
ResolutionOption = Annotated[
    int | None,
    typer.Option("--resolution", help="Pixels a side; default: the run's, or the model's own.", min=1, max=MOST_PIXELS),
]

PlanArgument = Annotated[
    list[str] | None, typer.Argument(metavar="PLAN.yaml|field=value", help="A plan first, then changes to it.")
]
OptionsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="option=value", help="Options of the score, with YAML values.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if any.")]

FileOption = Annotated[Path | None, typer.Option("--file", help="File of prompts: text, CSV, TSV, JSON or Parquet.")]
SeedsOption = Annotated[
    int, typer.Option("--seeds", help="Images of each prompt, from seeds 0, 1, ...", min=1, max=MOST_IMAGES)
]
PictureOption = Annotated[Path, typer.Option("--output", "-o", help="PNG or JPEG file to write.")]

ResultsOption = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of NAME.html, NAME.md and data/NAME.jsonl.")
]
RunsOption = Annotated[Path | None, typer.Option("--runs", help="Folder of the training runs; default: runs/NAME.")]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", help="Runs at a time; default: one for each GPU, or core.", min=1, max=MOST_PROCESSES),
]

HoursOption = Annotated[
    float | None,
    typer.Option(
        "--hours",
        help="Stop after so many hours; what is under way is saved.",
        min=0.0,
        max=MOST_SECONDS / 3600,
        callback=_number,
        metavar="FLOAT",
    ),
]
PinOption = Annotated[bool, typer.Option("--pin", help="Keep every run on its own share of the cores.")]

PromptsOption = Annotated[
    str | None, typer.Option("--prompts", help="Prompt file or list name; default: the run's held-out list.")
]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="Column of the prompts in a table or JSON file; default: prompt.")
]
RewardsOption = Annotated[
    str | None,
    typer.Option(
        "--rewards", help="NAME,NAME, or a list as in a recipe; default: the run's scores.", callback=_known_scores
    ),
]
NoiseSeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        help="Of the start noises; evaluation during training uses eval.noise_seed, by default 0.",
        min=0,
        max=LARGEST_SEED,
    ),
]
DiversityOption = Annotated[
    str | None, typer.Option("--diversity", help="Its features: pixels, dreamsim, or a score that embeds images.")
]
DistanceOption = Annotated[
    str | None,
    typer.Option(
        "--distance", help="KID and FID to the base's images, in features as --diversity names them, or inception."
    ),
]
OffloadOption = Annotated[
    bool, typer.Option("--offload", help="Let the scores' networks take turns on the GPU: less memory, slower.")
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="paper: the published prompts, scores, steps, size and values; drawbench: the table papers print.",
    ),
]


def given(context: typer.Context, options: Iterable[str]) -> list[str]:
    """The options that were given on the command line, with their dashes."""
    sources = {option: context.get_parameter_source(option) for option in options}
    return [f"--{option}" for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


RecipeArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RECIPE|section.key=value", help="A recipe first (default: shapes), then changes to it."),
]
