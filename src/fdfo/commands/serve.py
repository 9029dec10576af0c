"""`fdfo serve-reward`: a score for runs elsewhere."""

import os

import torch

from fdfo.commands.memory import memory_explained
from fdfo.commands.score import chosen_device, named_score
from fdfo.config.scores import PLACEMENT
from fdfo.errors import ConfigError
from fdfo.rewards.endpoint import NO_VARIABLE, is_variable
from fdfo.rewards.server import RewardServer
from fdfo.rewards.weighted import WeightedSum


def run_serve(
    name: str, options: list[str], host: str, port: int, key_variable: str | None, device_name: str | None
) -> None:
    """Load the score and answer until interrupted. Raises FdfoError when it cannot be loaded or served."""
    key = None if key_variable is None else _environment_key(key_variable)
    entries = named_score(name, options)
    reward, device = WeightedSum(entries), chosen_device(device_name)
    if reward.pairwise:
        raise ConfigError("the command line", [f"{name} compares two images; the protocol has scores of one only"])
    with memory_explained():
        reward.load(device, torch.float32)
    try:
        server = RewardServer(reward, _in_full(name, options), device, host=host, port=port, key=key)
    except OSError as error:
        problem = f"cannot listen at {host}:{port}: {error.strerror or error}; give another --host or --port"
        raise ConfigError("the command line", [problem]) from error
    with server:
        print(f"serving {server.name} on {device}; name it in a run as {{name: remote, url: {server.url}}}", flush=True)
        if key is None and host not in ("127.0.0.1", "::1", "localhost"):
            print("whoever reaches this address can use it; --key-variable NAME asks for a key", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


def _in_full(name: str, options: list[str]) -> str:
    """By which clients know the score again: with its options, less those that do not change scores."""
    return " ".join([name, *(option for option in options if option.partition("=")[0] not in PLACEMENT)])


def _environment_key(variable: str) -> str:
    """Without white space at its ends, as clients send it. Raises ConfigError where there is none."""
    if not is_variable(variable):
        raise ConfigError("the command line", [f"--key-variable {NO_VARIABLE}"])
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError("the command line", [f"--key-variable: the environment has no key in {variable}; set it"])
    return key
