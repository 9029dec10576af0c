"""Stops a run whose optimizer step made a number that is not finite, before anything else uses that number."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from fdfo.errors import FdfoError
from fdfo.training.checkpoint import optimizer_state
from fdfo.training.engine import Engine


def refuse_not_finite(engine: Engine, update: int) -> None:
    """Raise FdfoError if a weight, an average or a moment is not finite after update number `update` of the run.

    Makes one pass over all of them and waits for the device once.
    """
    kept = _kept(engine)
    if bool(get_total_norm(kept.values(), norm_type=float("inf")).isfinite()):
        return
    name = next(name for name, tensor in kept.items() if not bool(tensor.isfinite().all()))
    optim = engine.config.optim
    raise FdfoError(
        f"update {update + 1} made {name} not finite, and is not saved. These settings cannot go on from here: start a "
        f"new run with a lower optim.lr (now {optim.lr:g}) or optim.weight_decay (now {optim.weight_decay:g})"
    )


def _kept(engine: Engine) -> Mapping[str, Tensor]:
    """All floating-point state on the device, by name: the weights, their average, the optimizer's moments."""
    named = engine.policy.weights.named()
    averaged = {f"the average of {name}": tensor for name, tensor in (engine.ema or {}).items()}
    moments = optimizer_state(engine.optimizer, list(named))
    tensors = {**named, **averaged, **moments}
    return {
        name: tensor.detach()
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.ndim
    }
