"""The seams between policy, reward, method and prompts; nothing else.

B samples, P prompts, T steps; times run from 1 to 0. See records.py for what crosses the seams.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from fdfo.flow.noise import NoiseStreams
from fdfo.records import Conditioning, Items, LossOutput, NetworkUse, Prompt, Rollout, Scores

Weights = Literal["current", "base"] | str
"""Which weights a policy evaluates: the trained ones (current), those before training (base), or a named snapshot."""


class TrainedWeights(Protocol):
    """The trained weights of a policy: float32 tensors by parameter name, always in the same order."""

    snapshots: dict[str, dict[str, Tensor]]
    """Named copies of the weights, such as an average, on the network's device; `velocity` can evaluate them."""

    def named(self) -> dict[str, Parameter]: ...

    def copy(self) -> dict[str, Tensor]:
        """Return a copy of the current values."""
        ...

    def set(self, values: Mapping[str, Tensor]) -> None:
        """Overwrite them. Raises ModelError for weights of another model."""
        ...

    def average(self, name: str, decay: float) -> None:
        """snapshot <- decay snapshot + (1 - decay) value, in place."""
        ...

    def strengthen(self, name: str, strength: float) -> None:
        """snapshot <- base + strength (value - base): weaker below 1, stronger above, opposite below 0."""
        ...

    def told(self) -> str:
        """Describe what is trained, in a few words."""
        ...

    def save(self, folder: Path, values: Mapping[str, Tensor] | None = None) -> None:
        """Write these values, or the current ones, as a checkpoint's files, which `load_policy` reads as an adapter."""
        ...

    def read(self, folder: Path) -> dict[str, Tensor]:
        """Read values that `save` wrote."""
        ...


class Policy(Protocol):
    """A text-to-image flow model with trainable weights (models/*): all that the rest of the project knows of it.

    Latents are float32 [B, C, h, w] at network scale, whatever the network itself reads; times run from 1 to 0.
    """

    latent_shape: tuple[int, int, int]
    """(C, h, w)."""
    device: torch.device
    state_dtype: torch.dtype
    """Precision to which the network rounds its input states; storing states in it loses nothing for the network."""
    velocity_dtype: torch.dtype
    """Precision that stores the network's velocities, which come as float32 tensors, without rounding."""
    guidance: float
    """v = negative + guidance (positive - negative); 1 is off, and costs one evaluation instead of two."""
    branches_together: bool
    """Whether both branches of guidance share a batch. One batch is faster; two take less memory."""

    # ---- prompts ----

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts [P] to conditioning with one row for each, on `device`."""
        ...

    def prepare(self, prompts: Sequence[str], watch: Callable[[], None] = ...) -> None:
        """Encode prompts ahead of time, many at once; `encode` then only looks them up.

        `watch` is called before each that is encoded, and may raise to stop."""
        ...

    # ---- the flow ----

    def velocity(self, x: Tensor, t: float | Tensor, cond: Conditioning, *, weights: Weights = "current") -> Tensor:
        """Guided velocity [B, C, h, w], float32, of states x at time t (a number or [B]) for B rows of conditioning.

        Differentiable in x and in the trained weights. A row does not depend on the rows beside it.
        """
        ...

    def decode(self, x0: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of clean latents [B, C, h, w]; differentiable."""
        ...

    def grid(self, steps: int) -> Tensor:
        """Times [T + 1] float32 on the CPU, decreasing from 1 to 0, as the family's own scheduler places them."""
        ...

    def take_use(self) -> NetworkUse:
        """Return the network evaluations of this process since the last call."""
        ...

    # ---- training ----

    @property
    def weights(self) -> TrainedWeights: ...

    def trainable(self) -> list[Parameter]:
        """Parameters that the optimizer changes."""
        ...

    def shardable(self) -> list[Module]:
        """The network's blocks, then the network itself, for base weights that are spread over several processes.

        From then on the network stays on its device.
        """
        ...

    # ---- what others read ----

    def save_lora(
        self,
        folder: Path,
        layout: Literal["diffusers", "comfyui", "kohya"] = "diffusers",
        dtype: torch.dtype | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Path:
        """Write the trained adapter as a LoRA file in a layout that others read, with facts in its header; its path.

        Raises ModelError where the model's adapters have no such layout.
        """
        ...

    def save_merged(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Write the whole pipeline with the trained weights inside; the policy cannot be trained afterwards."""
        ...


class Reward(Protocol):
    """A score of images for their prompts (rewards/*)."""

    differentiable: bool

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Import, download and place what the score needs; called once, before the first image."""
        ...

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32 or float64, higher is better, of images [B, 3, H, W] in [0, 1]; NaN = this item failed."""
        ...


class PairwiseReward(Protocol):
    """A preference between two images of one prompt; accepted wherever images come in groups (rewards/pairwise.py)."""

    differentiable: bool
    pairwise: bool
    """True."""

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """As in Reward."""
        ...

    def __call__(
        self, first: Tensor, second: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> Tensor:
        """Preferences [B], float32 or float64, for the first of two images [B, 3, H, W] in [0, 1]; NaN = it failed."""
        ...


class Memory(Protocol):
    """State that a method keeps from epoch to epoch. It is equal in all processes and saved in every checkpoint."""

    def observe(self, prompts: Sequence[Prompt], totals: Tensor) -> None:
        """Take in the totals [B] of an epoch's samples, of all processes, before `credit`; NaN where a score failed.

        Samples stand in the order of the prompts [P], B / P of them for each.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the whole state as named tensors."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore tensors that `state` returned; the mapping is empty at the start of a run."""
        ...


class Method(Protocol):
    """A way to learn from scores (methods/*): a rollout, the credit of its items, and their loss."""

    Config: ClassVar[type]
    needs_scores: bool
    """True where `credit` reads scores of the rollout's endpoints. False where the loss makes and scores images itself:
    then no endpoint is decoded or scored before, and the scores that `credit` gets are all 0."""

    needs_score_gradient: bool
    """True where `credit` reads `scores.gradient`; the reward must then be differentiable."""

    differentiates_reward: bool
    """True where `loss` differentiates the reward itself; it must then be differentiable."""

    group_size: int
    """Samples drawn for each prompt."""

    trained_times: int
    """Times K of every sample that are trained on."""

    row_evaluations: float
    """Velocity evaluations with gradient in the loss of one row, in the mean, for planning."""

    row_forwards: float
    """Velocity evaluations without gradient in the loss of one row, in the mean, for planning."""

    kept_evaluations: int
    """How many of these keep their activations at the same time; fewer if the method recomputes some."""

    row_latents: int
    """float32 latents kept in host memory for one row, for planning."""

    row_velocities: int
    """Pairs of state and velocity, in the policy's own precisions, kept in host memory for one row, for planning."""

    averages: Mapping[str, Callable[[int], float]]
    """Averaged weights that the method evaluates, by name: their decay at the end of an epoch (counted from 0).

    They start as the weights before training, follow old <- decay old + (1 - decay) current, and are saved and restored
    by the loop.
    """

    memory: Memory | None
    """State kept from epoch to epoch; None if the method keeps none."""

    metrics: tuple[str, ...]
    """Names of the metrics that `loss` reports."""

    def sampling_evaluations(self, num_prompts: int) -> float:
        """Velocity evaluations of a rollout of this many prompts, in rows, for planning; the mean over epochs."""
        ...

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> Rollout:
        """Sample `group_size` images for every prompt, without gradient."""
        ...

    def credit(self, rollout: Rollout, scores: Scores) -> Items:
        """Trainable rows of the samples; pure."""
        ...

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Losses of rows, with gradient."""
        ...


class PromptSource(Protocol):
    """Where prompts come from (prompts/*)."""

    def __len__(self) -> int: ...

    def take(self, epoch: int, count: int) -> list[Prompt]:
        """The `count` prompts of an epoch, numbered from 0; the same for any process count."""
        ...
