"""The run folder: its configuration, environment, event log and evaluations."""

import json
import platform
import re
import subprocess
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from fdfo.config.load import config_hash, to_yaml
from fdfo.config.scores import PLACEMENT
from fdfo.config.tree import Config
from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.runs import CONFIG, ENVIRONMENT, METRICS, load_run_config, read_events
from fdfo.files import finite, write_atomically, write_json

MAY_CHANGE = {
    "policy": {"gradient_checkpointing", "attention", "compile", "prompt_cache"},
    "train": {"epochs", "micro_batch", "sample_batch", "overlap_scoring", "checkpoint_every", "keep", "keep_every"}
    | {"collective_timeout_s"},
    "reward": PLACEMENT,
    "eval": {"rewards": PLACEMENT},
    "log": None,
}
"""Fields in which a continued run may differ from its start (None: the whole section; of a list: of each entry)."""

LIBRARIES = ("fdfo", "torch", "diffusers", "transformers", "peft", "accelerate", "numpy")


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.evaluations = path / "evaluations"

    def prepare(self, config: Config) -> None:
        """Create the folder, or check that it belongs to this configuration. Raises ConfigError or CheckpointError.

        One of a run that never began, because something did not load, belongs to any.
        """
        if (self.path / CONFIG).is_file():
            if not self._is_unused():
                self._check_same(config)
        elif self.path.is_dir() and any(not path.name.startswith(".") for path in self.path.iterdir()):
            raise CheckpointError(f"{self.path} is not empty and not a run folder; give another --run folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / CONFIG, f"# {config_hash(config)}\n{to_yaml(config)}")
            for folder in (self.checkpoints, self.samples, self.evaluations):
                folder.mkdir(exist_ok=True)
            write_json(self.path / ENVIRONMENT, environment())
        except OSError as error:
            raise CheckpointError(
                f"cannot write to {self.path}: {error.strerror}; give another --run folder"
            ) from error

    def _is_unused(self) -> bool:
        """Whether the folder is as `prepare` leaves it: nothing has been loaded, or written by anyone else."""
        folders = (self.checkpoints, self.samples, self.evaluations)
        own = {CONFIG, ENVIRONMENT, *(folder.name for folder in folders)}
        header = (self.path / CONFIG).read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        return (
            {path.name for path in self.path.iterdir()} <= own
            and re.fullmatch("# [0-9a-f]+", header) is not None
            and not any(folder.is_dir() and any(folder.iterdir()) for folder in folders)
        )

    def begin(self) -> None:
        """Everything is loaded: from now on the folder belongs to its configuration."""
        (self.path / METRICS).touch()

    def _check_same(self, config: Config) -> None:
        stored = load_run_config(self.path)
        changes = list(_differences(stored.model_dump(mode="json"), config.model_dump(mode="json")))
        if changes:
            problems = [f"{key} is {old!r} in the folder, {new!r} now" for key, old, new in changes]
            problems.append("continue with the folder's settings, or give a new --run folder")
            raise ConfigError(f"{self.path}: the folder holds a run of another configuration", problems)

    # ---- events ----

    def log(self, event: str, epoch: int, values: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl. epoch counts from 1; 0 is before training."""
        line = json.dumps(finite({"event": event, "epoch": epoch, **values}), allow_nan=False)
        with open(self.path / METRICS, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def forget_after(self, epoch: int, evaluated_every: int) -> None:
        """Drop events and evaluations of later epochs, as the run continues from this one.

        Also drops what a shorter run evaluated at its end only: one run in all would not have done so; and events of
        an evaluation that was not finished.
        """
        path = self.path / METRICS
        if path.is_file():
            judged = ("evaluation", "alarm")
            kept = [
                event
                for event in read_events(self.path)
                if event["epoch"] <= epoch
                and (
                    event["event"] not in judged
                    or (event["epoch"] % evaluated_every == 0 and self._evaluation_file(event["epoch"]).is_file())
                )
            ]
            write_atomically(path, "".join(json.dumps(event) + "\n" for event in kept))
        for file in self.evaluations.glob("epoch-*.json"):
            number = int(file.stem.removeprefix("epoch-"))
            if number > epoch or number % evaluated_every:
                file.unlink()

    def save_evaluation(self, evaluation: Evaluation) -> None:
        """Write evaluations/epoch-N.json."""
        write_atomically(self._evaluation_file(evaluation.epoch), evaluation.to_json())

    def _evaluation_file(self, epoch: int) -> Path:
        return self.evaluations / f"epoch-{epoch:07d}.json"


def next_run_number(root: Path) -> int:
    """One more than the highest number of the folders `00007-...` below root."""
    numbers = [int(p.name[:5]) for p in root.glob("[0-9][0-9][0-9][0-9][0-9]-*")]
    return max(numbers, default=-1) + 1


def environment() -> dict[str, Any]:
    """Versions, commit, devices and time; nothing that names a person or a machine."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = None
    cuda = torch.cuda.is_available()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libraries": libraries,
        "commit": _commit(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else ["cpu"],
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """Commit of the source tree that this package runs from, if it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _differences(old: Any, new: Any, key: str = "", allowed: Any = MAY_CHANGE) -> Any:
    """(dotted key, old, new) of every field that differs and may not."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = allowed.get(name, {}) if isinstance(allowed, dict) else {}
            if inner is None or (isinstance(allowed, Set) and name in allowed):
                continue
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."), inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, f"{key}.{index}", allowed)
    elif old != new:
        yield key, old, new
