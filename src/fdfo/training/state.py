"""Copies the state of a run from its objects, and restores it into them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from fdfo.training.carried_state import MEMORY, carried_state, restore_carried_state
from fdfo.training.checkpoint import Progress, State, optimizer_tensors, restore_optimizer
from fdfo.training.engine import Engine


def state_of(engine: Engine, progress: Progress) -> State:
    """Copy to the CPU everything that determines the rest of the run."""
    weights = engine.policy.weights
    return State(
        progress=replace(progress),
        weights=_on_cpu(weights.named()),
        optimizer=optimizer_tensors(engine.optimizer, list(weights.named())),
        ema=None if engine.ema is None else _on_cpu(engine.ema),
        carried=_on_cpu(carried_state(engine.method, weights, engine.reward)),
    )


def put_back(engine: Engine, state: State) -> None:
    """Restore a state. Raises ValueError, and changes nothing, if its tensors are not those of this run."""
    weights = engine.policy.weights
    names, fixed = list(weights.named()), carried_state(engine.method, weights, engine.reward)
    _refuse_others("weights", state.weights, weights.named())
    _refuse_others("average", state.ema or {}, engine.ema or {})
    _refuse_others("carried", _without_memory(state.carried), _without_memory(fixed))
    _refuse_other_optimizer(state, names)
    engine.skipped_updates = state.progress.skipped_updates
    weights.set(state.weights)
    restore_optimizer(engine.optimizer, names, state.optimizer)
    for name, value in (state.ema or {}).items():
        assert engine.ema is not None
        engine.ema[name].copy_(value)
    restore_carried_state(engine.method, weights, engine.reward, state.carried)


def _refuse_others(part: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the tensors have the names and shapes of the others."""
    for name in {**wanted, **found}:
        if name not in found or name not in wanted:
            raise ValueError(f"{part}: {name} is {'missing' if name in wanted else 'unknown'}")
        if found[name].shape != wanted[name].shape:
            raise ValueError(f"{part}: {name} has shape {list(found[name].shape)}, not {list(wanted[name].shape)}")


def _refuse_other_optimizer(state: State, names: Sequence[str]) -> None:
    """Raise ValueError unless every parameter has the same entries, with moments of its shape."""
    entries: dict[str, set[str]] = {name: set() for name in names}
    for key, value in state.optimizer.items():
        name, _, entry = key.rpartition("/")
        if name not in entries:
            raise ValueError(f"optimizer: {key} is unknown")
        if entry.startswith("exp_avg") and value.shape != state.weights[name].shape:
            raise ValueError(f"optimizer: {key} has shape {list(value.shape)}")
        entries[name].add(entry)
    if len({frozenset(own) for own in entries.values()}) > 1:
        raise ValueError("optimizer: some entries are missing")


def _without_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The carried state without the method's memory, whose size grows."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(MEMORY)}


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of named tensors."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
