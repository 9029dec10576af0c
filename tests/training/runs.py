"""Small real runs on the embedded model, for tests of the loop."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from fdfo.config.load import load_config
from fdfo.models.lora_files import ADAPTER_FILE
from fdfo.models.weights import FULL_FILE
from fdfo.training.loop import train
from tests.training.forks import Command

TINY = (
    "method.steps=3",
    "prompts.pairs_per_epoch=5",
    "train.epochs=3",
    "optim.updates_per_epoch=3",
    "eval.prompts=4",
    "eval.every=3",
    "eval.steps=2",
)
"""shapes-smoke (LoRA, EMA, contrastive score) made smaller still: 5 pairs, so that two processes share unevenly."""


def run(folder: Path, *overrides: str, recipe: str = "shapes-smoke") -> Path:
    """Train in this process."""
    return train(load_config(recipe, [*TINY, *overrides]), folder)


def command(folder: Path, *overrides: str) -> Command:
    """Start `fdfo train` in a process of its own."""
    return Command("train", "shapes-smoke", *TINY, *overrides, "--run-dir", str(folder))


def torchrun(folder: Path, *overrides: str, processes: int) -> subprocess.Popen:
    """The same in several processes, from a shell, as users start it: they import everything anew."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "fdfo"]
    arguments = [sys.executable, *launcher, "train", "shapes-smoke", *TINY, *overrides, "--run-dir", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(process: Command) -> str:
    """Wait for success; the output."""
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def adapter(folder: Path, epoch: int | None = None) -> dict[str, torch.Tensor]:
    """Adapter weights of an epoch's checkpoint, the latest by default."""
    pattern = "epoch-*" if epoch is None else f"epoch-{epoch:07d}"
    checkpoint = sorted((folder / "checkpoints").glob(pattern))[-1]
    (path,) = (path for path in (checkpoint / ADAPTER_FILE, checkpoint / FULL_FILE) if path.is_file())
    return load_file(path)


def largest_difference(first: Path, second: Path) -> float:
    """Largest absolute difference between the adapters of two runs."""
    a, b = adapter(first), adapter(second)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)
