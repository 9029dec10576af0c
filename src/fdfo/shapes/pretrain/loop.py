"""One training stage, continued from its last checkpoint, with the average of the weights as its result."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fdfo.shapes.pretrain.progress import Progress
from fdfo.shapes.pretrain.settings import Training
from fdfo.shapes.pretrain.store import read, read_number, write

CHECKPOINT_EVERY_S = 60.0


def train_stage(
    name: str,
    net: nn.Module,
    loss_at: Callable[[int], Tensor],
    training: Training,
    *,
    work: Path,
    fingerprint: str,
    progress: Progress,
) -> float:
    """Train `net` by `loss_at(step)`, leave the averaged weights in it and return the seconds spent in all.

    `loss_at` must draw its randomness from the step alone; then an interrupted run ends with the same weights.
    """
    path = work / f"{name}.safetensors"
    parameters: list[Tensor] = [p for p in net.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in parameters]
    optimizers = _optimizers(net, training)
    first, spent = _restore(path, fingerprint, parameters, average, optimizers)
    started = last = time.monotonic()
    net.train()
    with progress.task(name, training.steps, first) as advance:
        for step in range(first, training.steps):
            loss = loss_at(step)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, training.max_grad_norm)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = optimizer.defaults["lr"] * decay(step / training.steps, training.decay_from)
                optimizer.step()
                optimizer.zero_grad()
            _update_average(average, parameters, 1 - min(training.ema, step / (step + 10)))
            now = time.monotonic()
            if now - last >= CHECKPOINT_EVERY_S or step + 1 == training.steps:
                last = now
                _save(path, fingerprint, parameters, average, optimizers, step + 1, spent + now - started)
            advance(loss=loss.item())
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    net.eval()
    return spent + time.monotonic() - started


def _optimizers(net: nn.Module, training: Training) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices of the transformer blocks where it has a learning rate."""
    matrices: list[nn.Parameter] = []
    if training.muon_lr is not None:
        blocks = net.get_submodule("transformer.transformer_blocks")
        matrices = [p for p in blocks.parameters() if p.ndim == 2]
    others = [p for p in net.parameters() if p.requires_grad and not any(p is matrix for matrix in matrices)]
    adam = torch.optim.AdamW(others, lr=training.lr, weight_decay=training.weight_decay, fused=True)
    if training.muon_lr is None:
        return [adam]
    return [adam, torch.optim.Muon(matrices, lr=training.muon_lr, weight_decay=training.weight_decay)]


def _owners(optimizers: list[torch.optim.Optimizer]) -> dict[Tensor, torch.optim.Optimizer]:
    """The optimizer of every parameter."""
    return {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}


def decay(fraction: float, decay_from: float) -> float:
    """Factor of the learning rate: 1 until `decay_from` of the run, then linearly to 0."""
    return min(1.0, (1 - fraction) / (1 - decay_from))


@torch.no_grad()
def _update_average(average: list[Tensor], parameters: list[Tensor], weight: float) -> None:
    for mean, parameter in zip(average, parameters, strict=True):
        mean.lerp_(parameter, weight)


def _save(
    path: Path,
    fingerprint: str,
    parameters: list[Tensor],
    average: list[Tensor],
    optimizers: list[torch.optim.Optimizer],
    steps: int,
    seconds: float,
) -> None:
    tensors, owners = {}, _owners(optimizers)
    for i, (parameter, mean) in enumerate(zip(parameters, average, strict=True)):
        tensors |= {f"weight.{i}": parameter, f"average.{i}": mean}
        tensors |= {f"{key}.{i}": value for key, value in owners[parameter].state[parameter].items()}
    write(path, tensors, fingerprint, steps=steps, seconds=seconds)


@torch.no_grad()
def _restore(
    path: Path,
    fingerprint: str,
    parameters: list[Tensor],
    average: list[Tensor],
    optimizers: list[torch.optim.Optimizer],
) -> tuple[int, float]:
    """Steps done and seconds spent by the run that `path` continues; zeros without one."""
    found = read(path, fingerprint)
    if found is None:
        return 0, 0.0
    owners = _owners(optimizers)
    for i, (parameter, mean) in enumerate(zip(parameters, average, strict=True)):
        parameter.copy_(found[f"weight.{i}"])
        mean.copy_(found[f"average.{i}"])
        for key in ("step", "exp_avg", "exp_avg_sq", "momentum_buffer"):
            if f"{key}.{i}" in found:
                owners[parameter].state[parameter][key] = found[f"{key}.{i}"].to(parameter.device)
    return int(read_number(path, "steps")), read_number(path, "seconds")
