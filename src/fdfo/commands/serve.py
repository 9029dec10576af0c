"""`fdfo serve-reward`: a score for runs elsewhere."""

import os

import torch

from fdfo.commands.memory import memory_explained
from fdfo.commands.score import chosen_device, named_score
from fdfo.commands.terminal import say
from fdfo.config.scores import placement_of
from fdfo.errors import ConfigError
from fdfo.rewards.endpoint import NO_VARIABLE, is_variable
from fdfo.rewards.server import LARGEST_REQUEST_BYTES, reward_app
from fdfo.rewards.weighted import WeightedSum
from fdfo.web.listening import THIS_MACHINE, listen
from fdfo.web.server import Server


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
        listener = listen(host, port)
    except OSError as error:
        problem = f"cannot listen at {host}:{port}: {error.strerror or error}; give another --host or --port"
        raise ConfigError("the command line", [problem]) from error
    shown = _in_full(name, options)
    server = Server(reward_app(reward, shown, device, key), listener, most_bytes=LARGEST_REQUEST_BYTES)
    say(f"serving {shown} on {device}; name it in a run as {{name: remote, url: {server.url}}}", flush=True)
    if key is None and host not in THIS_MACHINE:
        say("whoever reaches this address can use it; --key-variable NAME asks for a key", flush=True)
    with listener:
        try:
            server.serve()
        except KeyboardInterrupt:
            say("stopped")


def _in_full(name: str, options: list[str]) -> str:
    """The name by which clients recognise the score, with the options that change its scores."""
    placement = placement_of(name)
    return " ".join([name, *(option for option in options if option.partition("=")[0] not in placement)])


def _environment_key(variable: str) -> str:
    """Without white space at its ends, as clients send it. Raises ConfigError where there is none."""
    if not is_variable(variable):
        raise ConfigError("the command line", [f"--key-variable {NO_VARIABLE}"])
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError("the command line", [f"--key-variable: the environment has no key in {variable}; set it"])
    return key
