"""What was run, where, and how to go on: facts, environment, commands, and what differs between runs."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdfo.evaluation.report.record import RunRecord, title_of
from fdfo.evaluation.report.text import NONE, number, pixels, plain_time
from fdfo.words import count, plural

Fact = tuple[str, str]

OPTION = "["
"""In a dotted key, before the name of a score whose option it is; compared where all runs have the score."""


def facts(record: RunRecord) -> list[Fact]:
    """The run in a few words: (term, value)."""
    config = record.config
    policy, prompts = config["policy"], config["prompts"]
    adapter = policy["adapter"]
    trained = f"LoRA of rank {adapter['rank']}" if adapter["kind"] == "lora" else "all weights"
    if adapter.get("start") is not None:
        trained = f"{'LoRA' if adapter['kind'] == 'lora' else trained} from {adapter['start']}"
    planned, done = record.epochs_planned, record.epochs_done
    size = pixels(policy["resolution"]) if policy["resolution"] else "at its own size"
    told = record.environment.get("prompts")
    return [
        ("Method", str(config["method"]["name"])),
        ("Model", f"{policy['name']}, {trained}, {size}"),
        ("Trained score", record.formula),
        ("Training prompts", f"{prompts['path'] or prompts['name']}, {count(prompts['pairs_per_epoch'])} an epoch"),
        ("Held-out prompts", _held_out(record)),
        *([("Prompts", told)] if told else []),
        *_evaluated_otherwise(config),
        ("Epochs", f"{count(done)} of {count(planned)}" + ("" if done >= planned else " so far")),
        ("Learning rate", number(config["optim"]["lr"])),
        ("Seed", str(config["train"]["seed"])),
    ]


def _held_out(record: RunRecord) -> str:
    """Where they come from, and how many were judged; before the first evaluation, how many are asked for."""
    prompts = record.config["prompts"]
    place = prompts["eval_path"] or prompts["eval_name"] or "set aside"
    if not record.evaluations:
        return f"{place}, at most {count(record.config['eval']['prompts'])}"
    return f"{place}, {count(len(record.evaluations[-1].prompts))}"


def _evaluated_otherwise(config: Mapping[str, Any]) -> list[Fact]:
    """What the model is evaluated on where that is not how it was trained."""
    policy, evaluation = config["policy"], config["eval"]
    model, size, guidance = (evaluation.get(name) for name in ("policy", "resolution", "guidance"))
    steps, trained_steps = evaluation["steps"], config["method"].get("steps")
    parts = [model] if model not in (None, policy["name"]) else []
    if size not in (None, policy["resolution"]):
        parts.append(pixels(size))
    if guidance not in (None, policy["guidance"]):
        parts.append(f"guidance {number(guidance)} (trained with {number(policy['guidance'])})")
    if trained_steps not in (None, steps):
        parts.append(f"{plural(steps, 'step')} (trained with {count(trained_steps)})")
    return [("Evaluated on", ", ".join(parts))] if parts else []


def environment(record: RunRecord) -> list[Fact]:
    """Versions and devices of the latest start: (term, value)."""
    found = record.environment
    started = found.get("started")
    rows = [
        ("Started", started and plain_time(started)),
        ("System", found.get("system")),
        ("Python", found.get("python")),
    ]
    rows += [(name, version) for name, version in (found.get("libraries") or {}).items()]
    rows += [("Commit", found.get("commit")), ("Devices", ", ".join(found.get("devices") or []))]
    rows += [("Threads", found.get("threads"))]
    return [(term, str(value)) for term, value in rows if value not in (None, "")]


def commands(record: RunRecord) -> list[Fact]:
    """Shell commands to go on from here: (what it does, command)."""
    folder = str(record.folder.resolve())  # from wherever the page is read
    run, config = shlex.quote(folder), shlex.quote(f"{folder}/config.yaml")
    longer = max(record.epochs_planned * 2, record.epochs_done)
    going_on = (
        ("Continue", f"fdfo train --run {run}")
        if record.epochs_done < record.epochs_planned
        else ("Train longer", f"fdfo train train.epochs={longer} --run {run}")
    )
    return [
        going_on,
        ("Repeat from the start", f"fdfo train {config} --run {shlex.quote(folder + '-again')}"),
        ("Draw pictures, before and after", f"fdfo generate --run {run} 'your prompt'"),
        ("Export the weights", f"fdfo export {run} --to {export_format(record)}"),
    ]


def export_format(record: RunRecord) -> str:
    """What a run is exported to where nothing else is asked for: without adapters there is no LoRA file."""
    return "merged" if record.config["policy"]["adapter"]["kind"] == "full" else "diffusers"


@dataclass(frozen=True)
class Difference:
    """A configuration field that is not the same in all runs."""

    key: str
    """Dotted."""
    values: list[str]
    """In each run, as YAML has it."""

    @property
    def is_of_some(self) -> bool:
        """Whether there are runs without it: another method has other fields."""
        return NONE in self.values


def differences(records: Sequence[RunRecord]) -> list[Difference]:
    """Configuration fields in which runs differ."""
    flat = [{**dict(_flatten(record.config)), "reward": record.formula} for record in records]
    keys = list(dict.fromkeys(key for values in flat for key in values))
    keys = [key for key in keys if OPTION not in key or all(key in values for values in flat)]
    rows = [Difference(key, [values.get(key, NONE) for values in flat]) for key in keys]
    return [row for row in rows if len(set(row.values)) > 1]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
            yield f"{prefix}{name}", ", ".join(title_of(one) for one in value)
            for one in value:
                options = {option: of for option, of in one.items() if option not in ("name", "weight", "label")}
                yield from _flatten(options, f"{prefix}{name}{OPTION}{title_of(one)}].")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
