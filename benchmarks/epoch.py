"""Where the time of an epoch goes: `python -m benchmarks.epoch [RECIPE] [section.key=value]...`.

Runs one warm-up epoch and then measures three. The overhead is what is neither the policy's network, nor its text
encoders and decoder, nor the scores: noise, solver, bookkeeping, dealing items to updates, the optimizer.
"""

import sys
import time
from typing import Any

import torch
from accelerate import Accelerator

from benchmarks.timing import Stopwatch
from fdfo.config.load import load_config
from fdfo.flow.noise import NoiseStreams
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.epoch import sample, update
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import peak_memory_gib
from fdfo.training.setup import build_trainer, training_prompts
from fdfo.training.trainer import Trainer

EPOCHS = 3


def measure(arguments: list[str]) -> dict[str, Any]:
    """Seconds by phase and in the network, evaluations and peak memory, per epoch."""
    recipe = arguments.pop(0) if arguments and "=" not in arguments[0] else "shapes"
    config = load_config(recipe, arguments)
    team = Team(Accelerator(cpu=not torch.cuda.is_available()))
    source, trainer = training_prompts(config, team), build_trainer(config, team, StopRequest(), Console(False, 1))
    network = Stopwatch(team.device)
    trainer.policy._network = network.wrap(trainer.policy._network)  # type: ignore[method-assign]
    backward = torch.Tensor.backward
    torch.Tensor.backward = network.wrap(backward)  # type: ignore[method-assign]
    try:
        _epoch(trainer, source.take(0, config.prompts.pairs_per_epoch), 0)
        trainer.phases.take()
        trainer.policy.take_use()
        network.seconds, start = 0.0, time.monotonic()
        for epoch in range(1, 1 + EPOCHS):
            _epoch(trainer, source.take(epoch, config.prompts.pairs_per_epoch), epoch)
        wall = time.monotonic() - start
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
    use, seconds = trainer.policy.take_use(), trainer.phases.take()
    models = network.seconds + seconds["encode"] + seconds["decode"] + seconds["score"]
    return {
        "seconds": {name: value / EPOCHS for name, value in seconds.items() if value > 0},
        "epoch": wall / EPOCHS,
        "network": network.seconds / EPOCHS,
        "overhead": (wall - models) / wall,
        "forward rows": use.forward // EPOCHS,
        "trained rows": use.trained // EPOCHS,
        "forward rows/s": use.forward / seconds["sample"],
        "trained rows/s": use.trained / seconds["train"],
        "peak memory GiB": peak_memory_gib(team.device),
    }


def _epoch(trainer: Trainer, prompts: Any, epoch: int) -> None:
    noise = NoiseStreams(0, epoch)
    sampled = sample(trainer, prompts, noise)
    with trainer.phases("train"):
        update(trainer, sampled, noise)


def main() -> None:
    result = measure(sys.argv[1:])
    print(f"one epoch, mean of {EPOCHS}; {torch.get_num_threads()} threads")
    for name, value in result.pop("seconds").items():
        print(f"  {name:<18} {value:9.3f} s  {value / result['epoch']:6.1%}")
    for name, value in result.items():
        print(f"{name:<20} " + (f"{value:9.1%}" if name == "overhead" else f"{value:9.3f}"))


if __name__ == "__main__":
    main()
