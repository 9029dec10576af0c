"""What goes with an exported adapter: its model card, pictures, the configuration, and a workflow for ComfyUI."""

from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from typing import Any

from fdfo.commands.licence import NOT_KNOWN, NOT_STATED, licence_of
from fdfo.config.run_folder import CONFIG, load_run_config
from fdfo.config.tree import Config
from fdfo.evaluation.card import SHEET, Use, asks_people, model_card
from fdfo.files import at_home, write_atomically
from fdfo.guard.files import is_file_name
from fdfo.models.source import EMBEDDED, ModelSource
from fdfo.models.usage import is_on_hub
from fdfo.studio.choices import FILE as CHOICES
from fdfo.visible import visible

CARD = "README.md"


def write_card(run: Path, folder: Path, checkpoint: str, use: Use, licence: str | None) -> None:
    """Write the card, its pictures and the configuration beside the exported weights."""
    config = load_run_config(run)
    found = licence or licence_of(ModelSource.find(config.policy.name, config.policy.revision).location)
    stated = None if found in (NOT_STATED, NOT_KNOWN) else found
    epoch = int(checkpoint.rpartition("-")[2])
    card, sheet = model_card(run, config, epoch, use, licence=stated, reproduce=reproduction(config))
    write_atomically(folder / CARD, str(card) + "\n")
    copyfile(run / CONFIG, folder / CONFIG)
    if sheet is not None:
        write_atomically(folder / SHEET, sheet)


def reproduction(config: Config) -> str:
    """How to train it again from `config.yaml`, with what that one names and does not hold."""
    prompts = config.prompts
    scores = [entry.name for entry in (*config.reward, *config.eval.rewards)]
    method = config.method.name  # type: ignore[attr-defined]
    named = [*scores, method, *filter(None, (prompts.name, prompts.eval_name))]
    functions = [name for name in dict.fromkeys(named) if name.startswith("python:")]
    files = [name for name in named if is_file_name(name)]
    files = [*dict.fromkeys([*files, *filter(None, (prompts.path, prompts.eval_path)), *_places(config)])]
    lines = [f"`config.yaml` beside this card is the configuration, for fdfo {version('fdfo')}."]
    if files:
        lines.append(f"It names files that have to be there: {_listed(files)}.")
    by_people = asks_people(config)
    if by_people:
        lines.append(f"People were a score: their choices, `{CHOICES}` of the run, decide what is trained.")
    if not functions:
        again = "asks people anew, and reproduces the training where they choose alike"
        return " ".join([*lines, f"`fdfo train config.yaml` {again if by_people else 'reproduces the training'}."])
    lines.append(f"It names what was part of the program that trained, and is in no file: {_listed(functions)}.")
    lines.append("So `fdfo train config.yaml` alone does not reproduce it. In a program that has these:")
    return " ".join(lines) + f"\n\n```python\n{_program(config)}\n```"


def _places(config: Config) -> list[str]:
    """Models, weights and what scores read that lie on the machine that trained."""
    models = (config.policy, config.evaluated_policy)
    local = [one.name for one in models if one.name not in EMBEDDED and not is_on_hub(one)]
    options = [item for entry in (*config.reward, *config.eval.rewards) for item in entry.options.items()]
    read = [
        value
        for key, value in options
        if isinstance(value, str) and (key == "path" or ("/" in value and at_home(value).exists()))
    ]
    return [*local, *filter(None, [config.policy.adapter.start]), *read]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{visible(name)}`" for name in names)


def _program(config: Config) -> str:
    """Lines that train again, with functions of the reader's own in place of their names."""
    content = config.model_dump(mode="json", exclude_defaults=True)
    parts = {"reward": content["reward"], "eval": {"rewards": content.get("eval", {}).get("rewards", [])}}
    parts |= {"method": {"name": config.method.name}}  # type: ignore[attr-defined]
    parts |= {"prompts": {key: content.get("prompts", {}).get(key) for key in ("name", "eval_name")}}
    changes = {key: part for key, part in parts.items() if "python:" in repr(part)}
    filled = repr(_with_functions(changes))
    return f'import fdfo\n\nconfig = fdfo.load_config("config.yaml", {filled})\nfdfo.train(config, "runs/again")'


class _Function(str):
    """The name of a function, which stands in a program without quotes."""

    def __repr__(self) -> str:
        own = self.removeprefix("python:").rpartition(".")[2].rstrip("'")
        return own if own.isidentifier() else "your_function"


def _with_functions(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _with_functions(value) for key, value in part.items() if value is not None}
    if isinstance(part, list):
        return [_with_functions(value) for value in part]
    return _Function(part) if isinstance(part, str) and part.startswith("python:") else part
