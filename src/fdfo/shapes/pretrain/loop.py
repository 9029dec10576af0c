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
    optimizer = torch.optim.AdamW(parameters, lr=training.lr, weight_decay=training.weight_decay, fused=True)
    first, spent = _restore(path, fingerprint, parameters, average, optimizer)
    started = last = time.monotonic()
    net.train()
    with progress.task(name, training.steps, first) as advance:
        for step in range(first, training.steps):
            for group in optimizer.param_groups:
                group["lr"] = training.lr * decay(step / training.steps, training.decay_from)
            loss = loss_at(step)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, training.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            _update_average(average, parameters, 1 - min(training.ema, step / (step + 10)))
            now = time.monotonic()
            if now - last >= CHECKPOINT_EVERY_S or step + 1 == training.steps:
                last = now
                _save(path, fingerprint, parameters, average, optimizer, step + 1, spent + now - started)
            advance(loss=loss.item())
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    net.eval()
    return spent + time.monotonic() - started


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
    optimizer: torch.optim.Optimizer,
    steps: int,
    seconds: float,
) -> None:
    tensors = {}
    for i, (parameter, mean) in enumerate(zip(parameters, average, strict=True)):
        tensors |= {f"weight.{i}": parameter, f"average.{i}": mean}
        tensors |= {f"{key}.{i}": value for key, value in optimizer.state[parameter].items()}
    write(path, tensors, fingerprint, steps=steps, seconds=seconds)


@torch.no_grad()
def _restore(
    path: Path,
    fingerprint: str,
    parameters: list[Tensor],
    average: list[Tensor],
    optimizer: torch.optim.Optimizer,
) -> tuple[int, float]:
    """Steps done and seconds spent by the run that `path` continues; zeros without one."""
    found = read(path, fingerprint)
    if found is None:
        return 0, 0.0
    for i, (parameter, mean) in enumerate(zip(parameters, average, strict=True)):
        parameter.copy_(found[f"weight.{i}"])
        mean.copy_(found[f"average.{i}"])
        for key in ("step", "exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][key] = found[f"{key}.{i}"].to(parameter.device)
    return int(read_number(path, "steps")), read_number(path, "seconds")
