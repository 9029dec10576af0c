"""Checkpoints: folders that are complete or do not count.

checkpoints/epoch-0000020/ holds the adapter, optimizer.safetensors, carried.safetensors (where a method or score
carries anything from epoch to epoch), state.json and, written last, complete.json with the digest of every other file.
A checkpoint that is incomplete or was changed is passed over for the one before.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fdfo.errors import CheckpointError
from fdfo.files import file_digest, save_tensors, sync_tree, write_atomically, write_json
from fdfo.interfaces import TrainedWeights
from fdfo.models.weights import EMA_FILE

_log = logging.getLogger(__name__)

COMPLETE = "complete.json"
CARRIED_FILE = "carried.safetensors"


@dataclass
class Progress:
    """How far a run has come, over all processes; everything that is not a tensor."""

    epoch: int = 0
    """Epochs finished."""
    updates: int = 0
    images: int = 0
    """Images scored for training."""
    forwards: int = 0
    """Network evaluations without gradient, in rows, evaluation not counted."""
    trained: int = 0
    """Network evaluations with gradient (forward and backward), in rows."""
    skipped_updates: int = 0
    """Updates in a row whose gradient was not finite."""


@dataclass
class State:
    """All that determines the rest of a run; tensors on the CPU."""

    progress: Progress
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    carried: dict[str, Tensor]
    """What the method and the scores carry from epoch to epoch."""


def checkpoint_name(epoch: int) -> str:
    """Name of the folder of an epoch's checkpoint."""
    return f"epoch-{epoch:07d}"


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The optimizer's state as named tensors on the CPU, `<parameter>/<entry>`."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        f"{name}/{entry}": torch.as_tensor(value).detach().cpu().clone()
        for name, parameter in zip(names, parameters, strict=True)
        for entry, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor]) -> None:
    """Put tensors of `optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor | int]] = {}
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        is_number = value.ndim == 0 and not value.is_floating_point()  # the 8-bit optimizer counts steps so
        state.setdefault(names.index(name), {})[entry] = int(value) if is_number else value.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def save_checkpoint(folder: Path, state: State, weights: TrainedWeights) -> Path:
    """Write checkpoints/epoch-N below the run folder, unless it is there and sound.

    Raises CheckpointError, leaving earlier ones as they were.
    """
    name = checkpoint_name(state.progress.epoch)
    final, temporary = folder / name, folder / f".{name}.tmp"
    if final.is_dir() and _problem(final) is None:
        return final
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        weights.save(temporary, state.weights)
        save_tensors(state.optimizer, temporary / "optimizer.safetensors")
        if state.ema is not None:
            save_tensors(state.ema, temporary / EMA_FILE)
        if state.carried:
            save_tensors(state.carried, temporary / CARRIED_FILE)
        write_json(temporary / "state.json", asdict(state.progress))
        write_json(temporary / COMPLETE, {path.name: file_digest(path) for path in sorted(temporary.iterdir())})
        sync_tree(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        write_atomically(folder / "latest", name + "\n")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"cannot save {final}: {getattr(error, 'strerror', None) or error}; earlier checkpoints are untouched. "
            "Free some space or mend the permissions, then repeat the command to continue"
        ) from error
    return final


def load_latest(folder: Path, weights: TrainedWeights) -> tuple[State | None, list[str]]:
    """The state of the newest sound checkpoint, or None where there are none, and what is wrong with newer ones.

    Raises CheckpointError when there are checkpoints and none is sound.
    """
    complaints = []
    for path in sorted(folder.glob("epoch-*"), reverse=True):
        problem = _problem(path)
        if problem is None:
            return _load(path, weights), complaints
        complaints.append(f"checkpoint {path.name} is not sound ({problem})")
    if complaints:
        raise CheckpointError("; ".join(complaints) + f". None is left: give a new --run folder, or delete {folder}")
    return None, complaints


def set_unsound_aside(folder: Path, newer_than: int) -> None:
    """Rename the checkpoints after an epoch, which could not be used, so that nothing counts them."""
    for path in folder.glob("epoch-*"):
        if int(path.name.removeprefix("epoch-")) > newer_than:
            shutil.rmtree(folder / f"unsound-{path.name}", ignore_errors=True)
            path.rename(folder / f"unsound-{path.name}")


def chosen_checkpoint(run: Path, which: str = "latest") -> Path:
    """Folder of a run's `latest` or `best` checkpoint; the latest sound one where none is named.

    One that is damaged or gone is passed over with a warning. Raises CheckpointError when there is none.
    """
    folder = run / "checkpoints"
    pointer = folder / which
    named = [folder / pointer.read_text(encoding="utf-8").strip()] if pointer.is_file() else []
    complaints = []
    for path in dict.fromkeys([*named, *sorted(folder.glob("epoch-*"), reverse=True)]):
        problem = _problem(path)
        if problem is None:
            if complaints:
                _log.warning("%s; using %s instead", "; ".join(complaints), path.name)
            return path
        complaints.append(f"checkpoint {path.name} is not sound ({problem})")
    raise CheckpointError(f"{run}: no complete checkpoint; expected the folder of a run that has saved one")


def prune(folder: Path, keep: int, keep_every: int | None, best_epoch: int | None) -> None:
    """Point `best` at the best epoch, and remove all but it, the latest `keep` and multiples of `keep_every`."""
    best = None if best_epoch is None else checkpoint_name(best_epoch)
    if best is not None and (folder / best).is_dir():
        write_atomically(folder / "best", best + "\n")
    for path in sorted(folder.glob("epoch-*"))[:-keep]:
        epoch = int(path.name.removeprefix("epoch-"))
        if path.name != best and not (keep_every and epoch % keep_every == 0):
            shutil.rmtree(path)


def _load(path: Path, weights: TrainedWeights) -> State:
    ema, carried = path / EMA_FILE, path / CARRIED_FILE
    return State(
        progress=Progress(**_read_json(path / "state.json")),
        weights=weights.read(path),
        optimizer=load_file(path / "optimizer.safetensors"),
        ema=load_file(ema) if ema.is_file() else None,
        carried=load_file(carried) if carried.is_file() else {},
    )


def _problem(path: Path) -> str | None:
    """Why a checkpoint folder cannot be used, or None."""
    if not (path / COMPLETE).is_file():
        return "it was not finished" if path.is_dir() else "it is gone"
    try:
        digests = _read_json(path / COMPLETE)
        if not isinstance(digests, dict) or not digests.keys() >= {"state.json", "optimizer.safetensors"}:
            return f"{COMPLETE} was changed"
        changed = [name for name, digest in digests.items() if file_digest(path / name) != digest]
    except (OSError, ValueError) as error:
        return f"unreadable: {error}"
    return f"{', '.join(changed)} changed after it was written" if changed else None


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
