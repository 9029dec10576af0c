"""The run folder: its configuration, environment, event log and evaluations."""

import json
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from fdfo.config.load import config_hash, to_yaml
from fdfo.config.run_folder import ANOTHER_FOLDER, CONFIG, METRICS, refuse_another
from fdfo.config.tree import Config
from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.events import checked_event
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import GRIDS
from fdfo.evaluation.runs import (
    CHECKPOINTS,
    ENVIRONMENT,
    EPOCH,
    EVALUATIONS,
    RAW,
    REPORT,
    read_evaluations,
    read_events,
)
from fdfo.files import finite, shown_names, write_atomically, write_json
from fdfo.locks import one_writer
from fdfo.own import cut_torn_line, make_way, mend_lines, numbered, numbered_name, read_json, set_aside, sound
from fdfo.training.distributed import Team
from fdfo.training.inputs import Digests, Stamps, changed_inputs

LIBRARIES = ("fdfo", "torch", "diffusers", "transformers", "peft", "accelerate", "numpy")


INPUTS = "inputs.json"


class Inputs(BaseModel):
    """Content of inputs.json."""

    digests: Digests
    stamps: Stamps = {}
    changes: list[list[str]] = []
    """The inputs that changed, for each time that the run went on with changed ones."""


def _read_inputs(path: Path) -> Inputs:
    return Inputs.model_validate(read_json(path))


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / CHECKPOINTS
        self.samples = path / "samples"
        self.evaluations = path / EVALUATIONS

    @contextmanager
    def held(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Create the folder, and keep every other writer out of it as long as inside.

        Raises BusyError where another process writes there, or waits for it (`one_writer`); CheckpointError where
        nothing can be written, or something else is there.
        """
        self._refuse_foreign()
        with ExitStack() as stack:
            with self._writing():
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(one_writer(self.path, f"wait until it has ended, or {ANOTHER_FOLDER}", waiting))
            yield

    def prepare(self, config: Config) -> None:
        """Create the folder, or check that it belongs to this configuration. Raises ConfigError or CheckpointError.

        One of a run that never began, because something did not load, belongs to any.
        """
        self._refuse_foreign()
        if (self.path / CONFIG).is_file() and not self._is_unused():
            refuse_another(self.path, config)
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            self._make_way()
            write_atomically(self.path / CONFIG, f"# {config_hash(config)}\n{to_yaml(config)}")
            for folder in (self.checkpoints, self.samples, self.evaluations):
                folder.mkdir(exist_ok=True)
            write_json(self.path / ENVIRONMENT, environment())

    def _make_way(self) -> None:
        """Set aside files and folders of another kind that stand where the run will write."""
        for folder in (self.checkpoints, self.samples, self.evaluations):
            make_way(folder, for_a_folder=True)
        pictures = [numbered(self.samples, kind, suffix) for kind in GRIDS for suffix in (".png", ".json")]
        files = [self.path / name for name in (ENVIRONMENT, METRICS, REPORT)]
        pointers = [self.checkpoints / name for name in ("latest", "best")]
        for file in [*files, *pointers, *(path for found in pictures for path in found.values())]:
            make_way(file)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointError(f"cannot write to {self.path}: {error.strerror}; {ANOTHER_FOLDER}") from error

    def _refuse_foreign(self) -> None:
        if shown_names(self.path) and not (self.path / CONFIG).is_file():
            raise CheckpointError(f"{self.path} is not empty and not a run folder; {ANOTHER_FOLDER}")

    def _is_unused(self) -> bool:
        """Whether the folder is as `prepare` leaves it: nothing has been loaded, or written by anyone else."""
        folders = (self.checkpoints, self.samples, self.evaluations)
        own = {CONFIG, ENVIRONMENT, INPUTS, *(folder.name for folder in folders)}
        header = (self.path / CONFIG).read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        return (
            shown_names(self.path) <= own
            and re.fullmatch("# [0-9a-f]+", header) is not None
            and not any(folder.is_dir() and any(folder.iterdir()) for folder in folders)
        )

    def keep_inputs(self, inputs: Callable[[Stamps], Digests], accepts_changes: bool) -> str | None:
        """Write down what the run is made of, or check that it is what it was.

        Where changes are accepted, evaluations from before do not count any more; a line that says so is returned.
        Raises ConfigError for others, with what was changed.
        """
        kept = sound(self.path / INPUTS, _read_inputs, set_aside) if (self.path / INPUTS).exists() else None
        stamps = {} if kept is None else kept.stamps
        now = inputs(stamps)
        changed = [] if kept is None or self._is_unused() else changed_inputs(kept.digests, now)
        if changed and not accepts_changes:
            problems = [f"{name} is not what the run began with" for name in changed]
            advice = f"put it back, or {ANOTHER_FOLDER}; or go on deliberately, with --changed-inputs"
            raise ConfigError(f"{self.path}: the run is made of something else now", problems, advice=advice)
        changes = [*(() if kept is None else kept.changes), *([changed] if changed else [])]
        if changed:
            self.evaluations.rename(self.path / f"{EVALUATIONS}-before-change-{len(changes)}")
            self.evaluations.mkdir()
        content = Inputs(digests=now, stamps=stamps, changes=changes)
        with self._writing():
            write_json(self.path / INPUTS, content.model_dump())
        return (
            f"going on over changed inputs ({', '.join(changed)}); earlier evaluations do not count"
            if changed
            else None
        )

    def begin(self) -> None:
        """Everything is loaded: from now on the folder belongs to its configuration."""
        cut_torn_line(self.path / METRICS)
        (self.path / METRICS).touch()

    def tell_prompts(self, line: str) -> None:
        """Keep for the report how many prompts there are."""
        path = self.path / ENVIRONMENT
        write_json(path, {**read_json(path), "prompts": line})

    def check_shared(self, team: Team, what: str, epoch: int) -> None:
        """Raise CheckpointError in every process unless all of them see files of the same latest epoch."""
        epochs = team.gather_rows(torch.tensor([epoch])).tolist()
        if len(set(epochs)) > 1:
            raise CheckpointError(
                f"the processes found {what} of different epochs ({epochs}); "
                f"{self.path} must be on a file system that all machines share"
            )

    # ---- events ----

    def log(self, event: str, epoch: int, values: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl. epoch counts from 1; 0 is before training."""
        line = json.dumps(finite({"event": event, "epoch": epoch, **values}), allow_nan=False)
        with open(self.path / METRICS, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def mend(self) -> None:
        """Set damaged evaluations aside, and take damaged lines out of the events, each with a line that says so."""
        for raw in (False, True):
            read_evaluations(self.path, set_aside, raw=raw)
        mend_lines(self.path / METRICS, checked_event)

    def forget_after(self, epoch: int, is_due: Callable[[int], bool]) -> None:
        """Drop events and evaluations of later epochs, as the run continues from this one.

        Also drops what a shorter run evaluated at its end only, when it was not due: one run in all would not have done
        so; and events of an evaluation that was not finished.
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
                    or (is_due(event["epoch"]) and self._evaluation_file(event["epoch"]).is_file())
                )
            ]
            write_atomically(path, "".join(json.dumps(event) + "\n" for event in kept))
        files = [numbered(folder, EPOCH, ".json") for folder in (self.evaluations, self.evaluations / RAW)]
        for number, file in (pair for found in files for pair in found.items()):
            if number > epoch or not is_due(number):
                file.unlink()

    def save_evaluation(self, evaluation: Evaluation, raw: Evaluation | None = None) -> None:
        """Write evaluations/raw/epoch-N.json, where the trained weights were judged beside their average, and
        evaluations/epoch-N.json last: an evaluation without it is done again."""
        path = self._evaluation_file(evaluation.epoch)
        if raw is not None:
            (self.evaluations / RAW).mkdir(exist_ok=True)
            write_atomically(self.evaluations / RAW / path.name, raw.to_json())
        write_atomically(path, evaluation.to_json())

    def _evaluation_file(self, epoch: int) -> Path:
        return self.evaluations / numbered_name(EPOCH, epoch, ".json")


def new_run_folder(root: Path, name: str) -> Path:
    """Make the next of the folders `00007-NAME` below root, whatever others do at the same time.

    Raises CheckpointError where nothing can be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with one_writer(root, "", waiting=lambda: None):  # for as long as it takes to make a folder
            path = root / f"{_next_run_number(root):05d}-{name}"
            path.mkdir()
    except OSError as error:
        raise CheckpointError(f"cannot write to {root}: {error.strerror}; give a --run folder") from error
    return path


def _next_run_number(root: Path) -> int:
    """One more than the highest number of the folders `00007-...` below root."""
    numbers = [int(found[1]) for path in root.iterdir() if (found := re.fullmatch(r"([0-9]{5,})-.+", path.name))]
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
