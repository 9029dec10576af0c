"""A policy of a file, `policy.name=path/to/file.py:name`: it has no pipeline; nothing is known before it is made."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from fdfo.config.tree import PolicyConfig
from fdfo.errors import ModelError, SettingError
from fdfo.guard.contact import Guard
from fdfo.guard.files import is_file_name
from fdfo.guard.own import own_tensor
from fdfo.interfaces import Policy, Weights
from fdfo.models.lora_layouts import LoraLayout
from fdfo.models.weights import TrainableWeights
from fdfo.plugins import find
from fdfo.records import Conditioning, NetworkUse

NOT_NEEDED = {"trainable", "shardable", "save_lora", "save_merged"}
"""Parts of a policy that training on one process does not ask a file for."""

NEEDED = [*Policy.__annotations__, *(name for name in vars(Policy) if not name.startswith("_"))]
NEEDED = [name for name in NEEDED if name not in NOT_NEEDED]


def is_custom(config: PolicyConfig) -> bool:
    """Whether a model is made by a file: then no memory plan, tokenizer or size is known before it is made."""
    return is_file_name(config.name)


def custom_problems(config: PolicyConfig) -> list[str]:
    """What keeps a policy from being found in its file, which is run for it."""
    try:
        find("policies", config.name)
    except ModelError as error:
        return [f"policy.name: {error}"]
    return []


def custom_policy(config: PolicyConfig, device: torch.device) -> "GuardedPolicy":
    """What the file's function makes of the section `policy` and the device, with its weights as they come: frozen.

    Random numbers of the CPU begin alike in every process, so that the same weights may be drawn again. Raises
    ModelError for what cannot be made or used.
    """
    guard, make = Guard(f"policy {config.name!r}", ModelError), find("policies", config.name)

    def made() -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return make(config, device)

    policy = guard("while it was made", made)
    return guard("where its parts were read", lambda: _checked(policy, guard, config))


def _checked(policy: Any, guard: Guard, config: PolicyConfig) -> "GuardedPolicy":
    missing = [name for name in NEEDED if not hasattr(policy, name)]
    if missing:
        kind = type(policy).__name__
        raise ModelError(f"{guard.what} returned {kind}, without {', '.join(missing)}; see fdfo.interfaces.Policy")
    if not isinstance(policy.weights, TrainableWeights) or policy.weights.kind is not None:
        raise ModelError(
            f"{guard.what}: its weights are to be fdfo.models.weights.TrainableWeights(network, ends of the names of "
            "modules that get adapters), with nothing attached: adapters and checkpoints are added here"
        )
    if policy.guidance != config.guidance:
        raise SettingError(f"{guard.what} has guidance {policy.guidance:g}, not policy.guidance={config.guidance:g}")
    return GuardedPolicy(policy, guard, config.resolution)


class GuardedPolicy:
    """The same policy: it gets tensors of its own, leaves nothing behind but what it returns, and that is checked."""

    def __init__(self, policy: Any, guard: Guard, resolution: tuple[int, int] | None):
        self._policy, self._guard, self._resolution = policy, guard, resolution
        self.latent_shape: tuple[int, int, int] = policy.latent_shape
        self.device: torch.device = policy.device
        self.state_dtype: torch.dtype = policy.state_dtype
        self.velocity_dtype: torch.dtype = policy.velocity_dtype
        self.guidance: float = policy.guidance
        self.branches_together: bool = policy.branches_together
        self.weights: TrainableWeights = policy.weights

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """As the policy does."""
        encoded = self._guard("in encode", lambda: self._policy.encode(list(prompts)))
        if not isinstance(encoded, Conditioning) or len(encoded) != len(prompts):
            raise ModelError(f"{self._guard.what}: encode is to return a Conditioning with a row for each prompt")
        return encoded

    def prepare(self, prompts: Sequence[str], watch: Callable[[], None] = lambda: None) -> None:
        """As the policy does."""
        self._guard("in prepare", lambda: self._policy.prepare(list(prompts), watch))

    def velocity(self, x: Tensor, t: float | Tensor, cond: Conditioning, *, weights: Weights = "current") -> Tensor:
        """As the policy does, which is told first whether both branches of guidance share a batch."""
        self._policy.branches_together = self.branches_together
        v = self._guard("in velocity", lambda: self._policy.velocity(own_tensor(x, x), t, cond, weights=weights))
        return self._sound("velocity", v, x.shape)

    def decode(self, x0: Tensor) -> Tensor:
        """As the policy does."""
        images = self._guard("in decode", lambda: self._policy.decode(own_tensor(x0, x0)))
        sides = self._resolution or getattr(images, "shape", ())[2:]
        return self._sound("decode", images, (len(x0), 3, *sides))

    def grid(self, steps: int) -> Tensor:
        """As the policy does."""
        return self._sound("grid", self._guard("in grid", lambda: self._policy.grid(steps)), (steps + 1,))

    def take_use(self) -> NetworkUse:
        """As the policy does."""
        return self._guard("in take_use", self._policy.take_use)

    def trainable(self) -> list[Parameter]:
        """Parameters that the optimizer changes."""
        return list(self.weights.named().values())

    def shardable(self) -> list[Module]:
        """As the policy does. Raises ModelError where it has no such thing, as the two below do."""
        return self._asked("shardable")

    def save_lora(
        self,
        folder: Path,
        layout: LoraLayout = "diffusers",
        dtype: torch.dtype | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Path:
        """As the policy does."""
        return self._asked("save_lora", folder, layout, dtype, facts)

    def save_merged(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """As the policy does."""
        self._asked("save_merged", folder, dtype)

    def _asked(self, name: str, *given: Any) -> Any:
        if not hasattr(self._policy, name):
            told = "; checkpoints hold its weights as they are" if name.startswith("save_") else ""
            raise ModelError(f"{self._guard.what} has no {name}: add it, as in fdfo.interfaces.Policy{told}")
        return self._guard(f"in {name}", lambda: getattr(self._policy, name)(*given))

    def _sound(self, name: str, value: Any, shape: Sequence[int]) -> Tensor:
        if isinstance(value, Tensor) and value.dtype == torch.float32 and tuple(value.shape) == tuple(shape):
            return value
        is_tensor = isinstance(value, Tensor)
        got = f"{value.dtype} {list(value.shape)}" if is_tensor else type(value).__name__
        raise ModelError(f"{self._guard.what}: {name} returned {got}; expected torch.float32 {list(shape)}")
