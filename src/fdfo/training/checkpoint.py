"""Checkpoints: folders that are complete or do not count.

checkpoints/epoch-0000020/ holds the adapter, optimizer.safetensors, averaged weights where there are any,
carried.safetensors (where a method or score carries anything from epoch to epoch), state.json and, written last,
complete.json with the digest of every other file. A checkpoint that is incomplete, was changed, or cannot be put to use
is passed over for the one before.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import NonNegativeInt, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fdfo.config.run_folder import load_run_config
from fdfo.config.tree import Config
from fdfo.errors import CheckpointError, is_out_of_memory
from fdfo.evaluation.runs import CHECKPOINTS, EPOCH, KEPT, named_checkpoint, pointed_at
from fdfo.files import file_digest, save_tensors, write_atomically, write_json
from fdfo.interfaces import TrainedWeights
from fdfo.machine import flush_folder
from fdfo.models.lora_files import ADAPTER_CONFIG, ADAPTER_FILE
from fdfo.models.weights import EMA_FILE, FULL_FILE
from fdfo.own import numbered, numbered_name, read_json, reason, remove
from fdfo.plugins import method_of

T = TypeVar("T")

_log = logging.getLogger(__name__)

COMPLETE = "complete.json"
STATE_FILE, OPTIMIZER_FILE, CARRIED_FILE = "state.json", "optimizer.safetensors", "carried.safetensors"


@dataclass
class Progress:
    """Counts of a run so far, summed over all processes: the part of its state that is no tensor."""

    epoch: NonNegativeInt = 0
    """Epochs finished."""
    updates: NonNegativeInt = 0
    images: NonNegativeInt = 0
    """Images scored for training."""
    forwards: NonNegativeInt = 0
    """Network evaluations without gradient, in rows, evaluation not counted."""
    trained: NonNegativeInt = 0
    """Network evaluations with gradient (forward and backward), in rows."""
    skipped_updates: NonNegativeInt = 0
    """Updates in a row whose gradient was not finite."""


@dataclass
class State:
    """Everything that determines the rest of a run, with tensors on the CPU."""

    progress: Progress
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    carried: dict[str, Tensor]
    """What the method and the scores carry from epoch to epoch."""


def checkpoint_name(epoch: int) -> str:
    """Name of the folder of an epoch's checkpoint."""
    return numbered_name(EPOCH, epoch)


def checkpoint_files(config: Config) -> frozenset[str]:
    """Names of the files of every checkpoint of a run, beside `complete.json`: they follow from its configuration."""
    method = method_of(config.method)
    standardizes = any(entry.standardize for entry in config.reward)
    names = {STATE_FILE, OPTIMIZER_FILE}
    names |= {FULL_FILE} if config.policy.adapter.kind == "full" else {ADAPTER_FILE, ADAPTER_CONFIG}
    names |= {EMA_FILE} if config.optim.ema is not None else set()
    names |= {CARRIED_FILE} if method.averages or method.memory is not None or standardizes else set()
    return frozenset(names)


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Any]:
    """The optimizer's state by name, `<parameter>/<entry>`, without copying it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        f"{name}/{entry}": value
        for name, parameter in zip(names, parameters, strict=True)
        for entry, value in optimizer.state[parameter].items()
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The optimizer's state as named tensors on the CPU."""
    state = optimizer_state(optimizer, names)
    return {name: torch.as_tensor(value).detach().cpu().clone() for name, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor]) -> None:
    """Restore the tensors of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor | int]] = {}
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        is_number = value.ndim == 0 and not value.is_floating_point()  # the 8-bit optimizer counts steps so
        state.setdefault(names.index(name), {})[entry] = int(value) if is_number else value.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def save_checkpoint(folder: Path, names: frozenset[str], state: State, weights: TrainedWeights) -> Path:
    """Write checkpoints/epoch-N, with files of these names, below the run folder, unless it is there and sound.

    Raises CheckpointError, leaving earlier ones as they were, where that fails or something is not finite.
    """
    name = checkpoint_name(state.progress.epoch)
    final, temporary = folder / name, folder / f".{name}.tmp"
    if final.is_dir() and _problem(final, names) is None:
        return final
    if wrong := not_finite(state):
        raise CheckpointError(f"{final} is not saved: {wrong} is not finite; earlier checkpoints are untouched")
    try:
        remove(temporary)
        temporary.mkdir(parents=True)
        weights.save(temporary, state.weights)
        tensors = {OPTIMIZER_FILE: state.optimizer, EMA_FILE: state.ema or {}, CARRIED_FILE: state.carried}
        for file in names & tensors.keys():
            save_tensors(tensors[file], temporary / file)
        write_json(temporary / STATE_FILE, asdict(state.progress))
        write_json(temporary / COMPLETE, {file: file_digest(temporary / file) for file in sorted(names)})
        flush_folder(temporary)
        remove(final)
        temporary.rename(final)
        write_atomically(folder / "latest", name + "\n")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"cannot save {final}: {getattr(error, 'strerror', None) or error}; earlier checkpoints are untouched. "
            "Free some space or mend the permissions, then repeat the command to continue"
        ) from error
    return final


def not_finite(state: State) -> str | None:
    """Name of a tensor of the state with a number that is not finite, or None."""
    parts = {"weights": state.weights, "optimizer": state.optimizer, "average": state.ema or {}, "": state.carried}
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                return f"{part}/{name}".lstrip("/")
    return None


def load_latest(folder: Path, names: frozenset[str], load: Callable[[Path], T]) -> tuple[T | None, list[str]]:
    """What `load` makes of the newest sound checkpoint, or None where there are none; what is wrong with newer ones.

    Raises CheckpointError when there are checkpoints and none is sound.
    """
    complaints = []
    for path in reversed(numbered(folder, EPOCH).values()):
        problem = _problem(path, names)
        if problem is None:
            try:
                return load(path), complaints
            except Exception as error:  # whatever fails makes this checkpoint unsound, but for what is no fault of it
                if is_out_of_memory(error) or isinstance(error, MemoryError):
                    raise
                problem = f"unreadable: {reason(error)}"
        complaints.append(f"checkpoint {path.name} is not sound ({problem})")
    if complaints:
        raise CheckpointError("; ".join(complaints) + f". None is left: give a new --run folder, or delete {folder}")
    return None, complaints


def set_unsound_aside(folder: Path, newer_than: int) -> None:
    """Rename the checkpoints after an epoch, which could not be used, so that nothing counts them."""
    for epoch, path in numbered(folder, EPOCH).items():
        if epoch > newer_than:
            remove(folder / f"unsound-{path.name}")
            path.rename(folder / f"unsound-{path.name}")


def chosen_checkpoint(run: Path, which: str = "latest") -> Path:
    """Folder of a run's `latest` or `best` checkpoint; the latest sound one where none is named.

    One that is damaged or gone is passed over with a warning. Raises CheckpointError when there is none.
    """
    folder, names = run / CHECKPOINTS, checkpoint_files(load_run_config(run))
    name = named_checkpoint(run, which)
    named = [] if name is None else [folder / name]
    complaints = []
    for path in dict.fromkeys([*named, *reversed(numbered(folder, EPOCH).values())]):
        problem = _problem(path, names)
        if problem is None:
            if complaints:
                _log.warning("%s; using %s instead", "; ".join(complaints), path.name)
            return path
        complaints.append(f"checkpoint {path.name} is not sound ({problem})")
    raise CheckpointError(f"{run}: no complete checkpoint; expected the folder of a run that has saved one")


def prune(folder: Path, keep: int, keep_every: int | None, best_epoch: int | None) -> None:
    """Point `best` at the best epoch; remove all but it, the latest `keep`, multiples of `keep_every`, and marked."""
    found = numbered(folder, EPOCH)
    if best_epoch is not None and best_epoch in found:
        write_atomically(folder / "best", checkpoint_name(best_epoch) + "\n")
    best = pointed_at(folder / "best")  # of an earlier choice, where the best one is not there any more
    for epoch, path in list(found.items())[:-keep]:
        is_kept = path.with_name(path.name + KEPT).exists() or (keep_every and epoch % keep_every == 0)
        if path.name != best and not is_kept:
            remove(path)


def read_state(path: Path, weights: TrainedWeights) -> State:
    """The state in a checkpoint's folder. Raises ValueError, or what its libraries raise, for files that do not fit."""
    ema, carried = path / EMA_FILE, path / CARRIED_FILE
    state = State(
        progress=_progress(path),
        weights=weights.read(path),
        optimizer=load_file(path / OPTIMIZER_FILE),
        ema=load_file(ema) if ema.is_file() else None,
        carried=load_file(carried) if carried.is_file() else {},
    )
    if wrong := not_finite(state):
        raise ValueError(f"{wrong} is not finite")
    return state


def _progress(path: Path) -> Progress:
    progress = TypeAdapter(Progress).validate_python(read_json(path / STATE_FILE))
    if path.name != checkpoint_name(progress.epoch):
        raise ValueError(f"{STATE_FILE} is of epoch {progress.epoch}")
    return progress


def _problem(path: Path, names: frozenset[str]) -> str | None:
    """Why a checkpoint folder, whose files must have these names, cannot be used, or None.

    Reads all of it, and no other file, whatever `complete.json` says.
    """
    if not (path / COMPLETE).is_file():
        return "it was not finished" if path.is_dir() else "it is gone"
    try:
        digests = read_json(path / COMPLETE)
        if not isinstance(digests, dict) or digests.keys() != names:
            return f"{COMPLETE} was changed"
        changed = [name for name in sorted(names) if not (path / name).is_file() or _differs(path / name, digests)]
        if changed:
            return f"{', '.join(changed)} changed after it was written"
        _progress(path)
        for name in names:
            if name.endswith(".safetensors"):
                safe_open(path / name, "pt").keys()
    except Exception as error:  # whatever fails makes this checkpoint unsound
        return f"unreadable: {reason(error)}"
    return None


def _differs(path: Path, digests: Mapping[str, object]) -> bool:
    return file_digest(path) != digests[path.name]
