"""The command line. Each command imports its own code when it is chosen."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fdfo import __version__
from fdfo.commands.choices_app import choices_app
from fdfo.commands.comparison_app import compare, probe
from fdfo.commands.export_app import export, push
from fdfo.commands.init_app import init
from fdfo.commands.libraries import prepare_libraries
from fdfo.commands.options import (
    AdaptersOption,
    ChangedInputsOption,
    DeviceOption,
    DistanceOption,
    DiversityOption,
    DryRunOption,
    FileOption,
    GuidanceOption,
    KeyOption,
    ModelOption,
    NoiseSeedOption,
    OffloadOption,
    OptionsArgument,
    PictureOption,
    PresetOption,
    ProcessesOption,
    PromptsOption,
    RecipeArgument,
    ResolutionOption,
    RewardsOption,
    RunFolderOption,
    RunOption,
    SeedsOption,
    StepsOption,
    StrengthOption,
    given,
)
from fdfo.commands.rewards_app import rewards_app
from fdfo.commands.startup import check_surroundings, prepare_terminal
from fdfo.commands.studio_app import studio
from fdfo.commands.terminal import say, tell
from fdfo.commands.words import TakesConfiguration, TakesPlan, TakesWords
from fdfo.errors import ConfigError, FdfoError, PeerError, SettingError
from fdfo.limits import MOST, MOST_IMAGES

app = typer.Typer(
    name="fdfo",
    help="Improve a text-to-image flow model with reinforcement learning, against any score you can compute.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(rewards_app, name="rewards")
app.add_typer(choices_app, name="choices")
app.command()(studio)


@app.command(cls=TakesConfiguration)
def train(
    arguments: RecipeArgument = None,
    run: RunFolderOption = None,
    dry_run: DryRunOption = False,
    changed_inputs: ChangedInputsOption = False,
    processes: ProcessesOption = 1,
) -> None:
    """Train a model as a recipe says, with changes.

    \b
    fdfo train                                          the demo: recipe shapes
    fdfo train shapes-smoke --run runs/smoke            a whole run in seconds
    fdfo train train.epochs=8 --run runs/smoke          the same run, longer
    fdfo train shapes --processes 2                     faster on two cores; the same run
    fdfo train shapes optim.lr=1e-4 'reward=[{name: my.py:score}]'
    fdfo train sd35-medium-paper --dry-run              what would happen
    """
    from fdfo.commands.train import run_train

    run_train(arguments or [], run, dry_run, changed_inputs, processes)


app.command()(init)


@app.command()
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts; or use --file.")] = None,
    file: FileOption = None,
    key: KeyOption = None,
    run: RunOption = None,
    model: ModelOption = None,
    adapters: AdaptersOption = None,
    strength: StrengthOption = "1",
    seeds: SeedsOption = 4,
    seed: NoiseSeedOption = 0,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    resolution: ResolutionOption = None,
    output: PictureOption = Path("images.png"),
) -> None:
    """Draw images, before and after training, on the same seeds.

    A PNG file carries all settings as text, under the name fdfo.
    """
    from fdfo.commands.generate import run_generate
    from fdfo.commands.model_choice import ModelChoice

    choices = [ModelChoice(run, model, adapter, guidance, resolution) for adapter in adapters or [None]]
    run_generate(choices, prompts or [], file, key, seeds, seed, strength, steps, output)


@app.command("eval")
def evaluate(
    context: typer.Context,
    run: RunOption = None,
    model: ModelOption = None,
    adapters: AdaptersOption = None,
    prompts: PromptsOption = None,
    key: KeyOption = None,
    rewards: RewardsOption = None,
    count: Annotated[int, typer.Option("--count", help="Number of prompts.", min=1, max=MOST)] = 192,
    images: Annotated[int, typer.Option("--images", help="Images of each prompt.", min=1, max=MOST_IMAGES)] = 1,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    resolution: ResolutionOption = None,
    seed: NoiseSeedOption = 0,
    diversity: DiversityOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for all scores and tables; repeating the command goes on in it."),
    ] = None,
    keep_images: Annotated[bool, typer.Option("--keep-images", help="Also write every image there, as PNG.")] = False,
    distance: DistanceOption = None,
    offload: OffloadOption = False,
    preset: PresetOption = None,
) -> None:
    """Score images before and after training, with intervals.

    Base and adapters draw the same prompts from the same seeds; intervals are 95 %, over prompts. Under accelerate
    launch or torchrun the processes share the prompts, with the same numbers.
    """
    from fdfo.commands.evaluate import run_evaluate
    from fdfo.commands.evaluation_task import EvaluationTask
    from fdfo.commands.model_choice import ModelChoice
    from fdfo.commands.protocol import DECIDED, run_protocol

    choices = [ModelChoice(run, model, adapter, guidance, resolution) for adapter in adapters or [None]]
    if preset is not None:
        run_protocol(preset, choices, seed, output, keep_images, offload, given(context, DECIDED))
        return
    task = EvaluationTask(
        prompts=prompts,
        key=key,
        rewards=rewards,
        count=count,
        images=images,
        steps=steps,
        seed=seed,
        diversity=diversity,
        distance=distance,
        offload=offload,
    )
    run_evaluate(choices, task, output, keep_images or distance is not None)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; several are compared in one page.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file to write.")] = None,
) -> None:
    """Write the report of one run, or of several side by side."""
    from fdfo.commands.output import prepare_output
    from fdfo.evaluation.report import write_report

    if output is not None:
        prepare_output(output)
    say(f"wrote {write_report(runs, output)}")


app.command(cls=TakesPlan)(compare)
app.command(cls=TakesPlan)(probe)
app.command()(export)
app.command()(push)


@app.command()
def doctor(
    model: Annotated[str, typer.Option("--model", help="shapes, a pipeline folder or a hub id.")] = "shapes",
) -> None:
    """Check this machine, and one pair end to end.

    Prints versions, devices, memory, disk and access to the hub; then samples, decodes, scores and learns from one pair
    on the chosen model.
    """
    from fdfo.commands.doctor import run_doctor

    run_doctor(model)


@app.command("serve-reward", cls=TakesWords)
def serve_reward(
    name: Annotated[str, typer.Argument(help="A score's name, a preset, or path/to/file.py:function.")],
    options: OptionsArgument = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8765,
    key_variable: Annotated[
        str | None, typer.Option("--key-variable", help="Environment variable with a key that clients must send.")
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Serve a score to runs in other processes.

    The score then has its own process, packages and GPU; runs name it {name: remote, url: ...}.
    """
    from fdfo.commands.extras import need

    need("serve-reward", "starlette", "uvicorn")
    from fdfo.commands.serve import run_serve

    run_serve(name, options or [], host, port, key_variable, device)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(f"fdfo {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: a user's error is one message and a non-zero exit code (2 for the configuration), no traceback."""
    prepare_terminal()
    prepare_libraries()
    try:
        check_surroundings(sys.argv[1:])
        app()
    except PeerError:  # the process that failed says why
        sys.exit(1)
    except FdfoError as error:
        tell(str(error))
        sys.exit(2 if isinstance(error, ConfigError | SettingError) else 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        tell(f"{where}{error.strerror or error or type(error).__name__}")
        sys.exit(1)


if __name__ == "__main__":
    main()
