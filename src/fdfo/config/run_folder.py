"""The configuration in a run folder, and the refusal of another one. Nothing here imports torch."""

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from fdfo.config.load import from_mapping
from fdfo.config.scores import placement_of
from fdfo.config.tree import Config
from fdfo.documents import BadDocument, parse_yaml
from fdfo.errors import CheckpointError, ConfigError

CONFIG, METRICS = "config.yaml", "metrics.jsonl"
"""The configuration, and the events of a run: where these are, the run has begun."""

OWN_FOLDERS, OWN_ENDINGS = ("checkpoints", "evaluations", "samples"), (".yaml", ".json", ".jsonl")
"""What a run writes and reads back, in its folder: these folders, and the files of these kinds."""

ANOTHER_FOLDER = "give another --run folder"
"""The way out where a folder cannot be used."""

MAY_CHANGE: Mapping[str, Any] = {
    "policy": {"gradient_checkpointing", "attention", "compile", "prompt_cache", "prompt_memory_gib"},
    "train": {"epochs", "micro_batch", "sample_batch", "overlap_scoring", "checkpoint_every", "keep", "keep_every"}
    | {"collective_timeout_s"},
    "reward": placement_of,
    "eval": {"rewards": placement_of},
    "log": None,
}
"""Fields in which a continued run may differ from its start (None: the whole section; of scores: by their names)."""


def load_run_config(run: Path) -> Config:
    """The resolved configuration of a run folder, whose scores need not exist here.

    Raises ConfigError or CheckpointError.
    """
    path = run / CONFIG
    try:
        if path.exists() and not path.is_file():  # reading a pipe never ends
            raise OSError("not a file")
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, BadDocument) as error:
        raise CheckpointError(f"{run} is not a run folder: cannot read {CONFIG} ({error})") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{run} is not a run folder: {CONFIG} holds no configuration")
    return from_mapping(raw, str(path), check_machine=False)


def has_begun(run: Path) -> bool:
    """Whether a folder belongs to its configuration for good, because everything was loaded with it once."""
    return (run / CONFIG).is_file() and (run / METRICS).is_file()


def owner_of(path: Path) -> Path | None:
    """The run that would be damaged by writing to a path: its folder, or something of its own there; None: none."""
    real = path.resolve()
    for run in filter(has_begun, (real, *real.parents)):
        inside = real.relative_to(run).parts
        is_file = len(inside) == 1 and real.suffix in OWN_ENDINGS
        return run if not inside or inside[0] in OWN_FOLDERS or is_file else None
    return None


def refuse_another(run: Path, config: Config) -> None:
    """Raise ConfigError with every field in which a run folder's configuration differs and may not."""
    stored = load_run_config(run)
    changes = list(_differences(stored.model_dump(mode="json"), config.model_dump(mode="json")))
    if changes:
        problems = [f"{key} is {old!r} in the folder, {new!r} now" for key, old, new in changes]
        advice = f"`fdfo train --run {run}` continues it by its own settings; or {ANOTHER_FOLDER}"
        raise ConfigError(f"{run}: the folder holds a run of another configuration", problems, advice=advice)


def _differences(old: Any, new: Any, key: str = "", allowed: Any = MAY_CHANGE) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old, new) of every field that differs and may not."""
    if isinstance(old, dict) and isinstance(new, dict):
        if allowed is placement_of:
            allowed = placement_of(old["name"])
        for name in [*old, *(name for name in new if name not in old)]:
            inner = allowed.get(name, {}) if isinstance(allowed, Mapping) else {}
            if inner is None or (isinstance(allowed, Set) and name in allowed):
                continue
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."), inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, f"{key}.{index}", allowed)
    elif old != new:
        yield key, old, new
