"""The state of a run, taken from the things that hold it and put back into them."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from fdfo.training.carried import carried, restore_carried
from fdfo.training.checkpoint import Progress, State, optimizer_tensors, restore_optimizer
from fdfo.training.trainer import Trainer


def state_of(trainer: Trainer, progress: Progress) -> State:
    """A copy, on the CPU, of all that determines the rest of the run."""
    weights = trainer.policy.weights
    return State(
        progress=replace(progress),
        weights=_on_cpu(weights.named()),
        optimizer=optimizer_tensors(trainer.optimizer, list(weights.named())),
        ema=None if trainer.ema is None else _on_cpu(trainer.ema),
        carried=_on_cpu(carried(trainer.method, weights, trainer.reward)),
    )


def put_back(trainer: Trainer, state: State) -> None:
    """Go on from a state."""
    weights = trainer.policy.weights
    trainer.skipped_updates = state.progress.skipped_updates
    weights.set(state.weights)
    restore_optimizer(trainer.optimizer, list(weights.named()), state.optimizer)
    for name, value in (state.ema or {}).items():
        assert trainer.ema is not None
        trainer.ema[name].copy_(value)
    restore_carried(trainer.method, weights, trainer.reward, state.carried)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of named tensors."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
