"""Where the time of an epoch goes: `python -m benchmarks.speed.epoch [RECIPE] [section.key=value]...`.

Runs one warm-up epoch and then measures three. The overhead is what is neither the policy's network, nor its text
encoders and decoder, nor the scores: noise, solver, bookkeeping, dealing items to updates, the optimizer.
"""

import sys
import time
from typing import Any

import torch
from accelerate import Accelerator

from benchmarks.speed.timing import Stopwatch
from fdfo.config.load import load_config
from fdfo.flow.noise import NoiseStreams
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.engine import Engine
from fdfo.training.epoch import sample, update
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import peak_memory_gib
from fdfo.training.setup import build_engine, training_prompts

EPOCHS = 3


def measure(arguments: list[str]) -> dict[str, Any]:
    """Seconds by phase and in the network, evaluations and peak memory, per epoch."""
    recipe = arguments.pop(0) if arguments and "=" not in arguments[0] else "shapes"
    config = load_config(recipe, arguments)
    team = Team(Accelerator(cpu=not torch.cuda.is_available()))
    source, engine = training_prompts(config, team), build_engine(config, team, StopRequest(), Console(False, 1))
    network = Stopwatch(team.device)
    engine.policy._network = network.wrap(engine.policy._network)  # type: ignore[method-assign]
    backward = torch.Tensor.backward
    torch.Tensor.backward = network.wrap(backward)  # type: ignore[method-assign]
    try:
        _epoch(engine, source.take(0, config.prompts.pairs_per_epoch), 0)
        engine.phases.take()
        engine.policy.take_use()
        network.seconds, start = 0.0, time.monotonic()
        for epoch in range(1, 1 + EPOCHS):
            _epoch(engine, source.take(epoch, config.prompts.pairs_per_epoch), epoch)
        wall = time.monotonic() - start
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
    use, seconds = engine.policy.take_use(), engine.phases.take()
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


def _epoch(engine: Engine, prompts: Any, epoch: int) -> None:
    noise = NoiseStreams(0, epoch)
    sampled = sample(engine, prompts, noise)
    with engine.phases("train"):
        update(engine, sampled, noise)


def main() -> None:
    result = measure(sys.argv[1:])
    print(f"one epoch, mean of {EPOCHS}; {torch.get_num_threads()} threads")
    for name, value in result.pop("seconds").items():
        print(f"  {name:<18} {value:9.3f} s  {value / result['epoch']:6.1%}")
    for name, value in result.items():
        print(f"{name:<20} " + (f"{value:9.1%}" if name == "overhead" else f"{value:9.3f}"))


if __name__ == "__main__":
    main()
