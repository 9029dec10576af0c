"""A flow pipeline as a policy: asked once for each prompt, and its network evaluated here from then on.

B samples, P prompts, [C, h, w] latent at network scale, [H, W] pixels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.utils._pytree import tree_map_only

from fdfo.config.tree import AttentionKernel, PolicyConfig
from fdfo.drawing import generate
from fdfo.files import give_usual_permissions, save_tensors
from fdfo.flow.path import on_device
from fdfo.hub import quiet_loading
from fdfo.interfaces import Policy, Weights
from fdfo.models.attention import attention_kernel, check_attention, checkpoint_with
from fdfo.models.decoding import decode, set_tiles
from fdfo.models.families import Family, Wishes
from fdfo.models.layouts import Shape
from fdfo.models.lora_layouts import FILES, LoraLayout, in_layout
from fdfo.models.prompt_cache import PromptCache
from fdfo.models.recording import Calls, Recorder, own_call
from fdfo.models.source import encodes_text
from fdfo.models.structure import Row
from fdfo.models.targets import blocks_of
from fdfo.models.weights import TrainableWeights
from fdfo.offload import temporarily_on
from fdfo.pictures import Pictures
from fdfo.records import Conditioning, NetworkUse, Prompt

DECODED_PIXELS = 2**21
"""Pixels decoded at a time where no gradient is wanted: 8 images of 512 x 512."""


class FlowPolicy:
    """A diffusers pipeline as a velocity field with trainable weights; see fdfo.interfaces.Policy."""

    def __init__(
        self,
        pipeline: Any,
        family: Family,
        wishes: Wishes,
        latent_shape: Shape,
        *,
        device: torch.device,
        prompt_cache: PromptCache | None = None,
    ):
        self.pipeline, self.family, self.device = pipeline, family, device
        # Of the computation; weights that are trained whole are float32.
        self.dtype: torch.dtype = pipeline.transformer.dtype
        self.state_dtype = self.dtype
        self.mixed = True
        """Whether float32 trained weights are used in the network's own dtype, by autocast."""
        self.attention: AttentionKernel = "auto"
        self.branches_together = True
        self.parks_transformer = True
        """Whether the transformer is in host memory while prompts are encoded; a sharded one cannot be moved."""
        self.weights = TrainableWeights(pipeline.transformer.to(device), family.targets)
        self._vae = pipeline.vae.to(device).requires_grad_(False).eval()
        self._text_encoders = [encoder.requires_grad_(False).eval() for encoder in text_encoders(pipeline)]
        pipeline.set_progress_bar_config(disable=True)
        self._set(wishes, latent_shape, prompt_cache or PromptCache(None, "", PolicyConfig().prompt_memory_gib))

    def _set(self, wishes: Wishes, latent_shape: Shape, prompt_cache: PromptCache) -> None:
        """What belongs to one size and guidance."""
        self._wishes = wishes
        self.latent_shape = latent_shape
        self.resolution, self.guidance = wishes.resolution, wishes.guidance
        self.velocity_dtype = velocity_dtype(wishes.guidance, self.dtype)
        self._use = NetworkUse()
        with torch.device("meta"):
            state = self.family.layout.pack(torch.empty(1, *latent_shape))
        self._recorder = Recorder(self.pipeline, self.family, wishes, state.shape[1:])
        self._encoded = prompt_cache
        self._kept: WeakKeyDictionary[Conditioning, dict[bool, Calls]] = WeakKeyDictionary()

    def seen(self, wishes: Wishes, latent_shape: Shape, prompt_cache: PromptCache) -> "FlowPolicy":
        """The same network and weights, for images of another size or guidance; prompts are encoded anew for it."""
        other = copy(self)
        other._set(wishes, latent_shape, prompt_cache)
        return other

    @contextmanager
    def standing_in(self, trained: "FlowPolicy", weights: Weights) -> Iterator[None]:
        """Inside, this network has those weights of another policy (for `base` none), whose own network is in host
        memory meanwhile. Raises ModelError where they do not fit."""
        trained.weights.place("cpu")
        self.weights.place(self.device)
        try:
            if weights != "base":
                self.weights.set(trained.weights.copy() if weights == "current" else trained.weights.snapshots[weights])
            yield
        finally:
            self.weights.place("cpu")
            trained.weights.place(trained.device)

    # ---- prompts ----

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts [P] as the pipeline does; each text once, then from host memory. Rows on `device`."""
        self.prepare(prompts)
        return Conditioning(tuple(self._encoded[text] for text in prompts)).to(self.device)

    @torch.no_grad()
    def prepare(self, prompts: Sequence[str], watch: Callable[[], None] = lambda: None) -> None:
        """Encode prompts into host memory, with the text encoders alone on the device; `watch` may raise to stop.

        One at a time: what would share a batch depends on what is cached, and its rounding would end exact resume.
        """
        wanted = dict.fromkeys(prompts)
        learns = not self._recorder.knows
        with self._encoders_on_device() if learns or self._encoded.missing(wanted) else nullcontext():
            if learns:
                self._recorder.learn(self.pipeline.transformer, self.device, self.dtype)
            self._encoded.fill(wanted, self._encode_one, watch)

    @contextmanager
    def _encoders_on_device(self) -> Iterator[None]:
        """The text encoders on the device in the transformer's place."""
        try:
            if self.parks_transformer:
                self.weights.place("cpu")
            # Of every text beyond CLIP's 77 tokens there is a warning; T5 reads on.
            with temporarily_on(self._text_encoders, self.device), quiet_loading():
                yield
        finally:
            if self.parks_transformer:
                self.weights.place(self.device)

    def _encode_one(self, text: str) -> Row:
        """One row, on the CPU."""
        return self._recorder.encode(self.pipeline.transformer, text, self.device, self.dtype)

    def _knowing(self) -> Recorder:
        """The recorder, once it has learnt what the pipeline's calls look like."""
        if not self._recorder.knows:
            self.prepare([])
        return self._recorder

    # ---- the flow ----

    def velocity(self, x: Tensor, t: float | Tensor, cond: Conditioning, *, weights: Weights = "current") -> Tensor:
        """Guided velocity [B, C, h, w], float32, of states x [B, C, h, w] at time t (a number or [B])."""
        times = on_device(t, x.device, torch.float32).expand(len(x))
        states, calls = self.family.layout.pack(x.to(self.dtype)), self._calls(cond, x.device)
        parts = []
        for call in calls.calls:
            if call.rows is None:
                parts.append(self._network(states, times, call.rest, weights))
            else:
                parts.append(self._network(states[call.rows], times[call.rows], call.rest, weights))
        v = parts[0] if len(parts) == 1 else torch.cat(parts)
        v = v if calls.order is None else v[calls.order]
        v = v if self.guidance == 1 else self.family.guide(*v.chunk(2), self.guidance)
        v = self.family.layout.unpack(v, self.latent_shape)
        return v if self.family.sign == 1 else -v

    @torch.no_grad()
    def row(self, prompt: str) -> dict[str, Any]:
        """All arguments of the network for one row of a prompt, without their content: on the meta device."""
        calls = self._knowing().calls(self.encode([prompt]), False, self.device).calls
        states = self.family.layout.pack(torch.empty(1, *self.latent_shape, dtype=self.dtype))
        given = self._recorder.arguments(states, torch.ones(1), calls[-1].rest)
        return tree_map_only(Tensor, lambda tensor: tensor.to("meta"), given)

    def _calls(self, cond: Conditioning, device: torch.device) -> Calls:
        """The calls of the network for these rows, whose arguments are kept as long as the rows are."""
        kept = self._kept.setdefault(cond, {})
        if self.branches_together not in kept:
            kept[self.branches_together] = self._knowing().calls(cond, self.branches_together, device)
        return kept[self.branches_together]

    def _network(self, states: Tensor, times: Tensor, rest: Mapping[str, Any], weights: Weights) -> Tensor:
        """Packed velocities [n, ...], float32, without guidance, counted."""
        if torch.is_grad_enabled():
            self._use.trained += len(states)
        else:
            self._use.forward += len(states)
        mixed = self.mixed and self.weights.kind is not None and self.dtype != torch.float32
        with (
            self.weights.use(weights) as network,
            _precision(self.device, self.dtype, mixed),
            attention_kernel(self.attention),
        ):
            output = network(**self._recorder.arguments(states, times, rest))[0]
        return self.family.leave(output, states).float()

    def take_use(self) -> NetworkUse:
        """Network evaluations since the last call."""
        taken, self._use = self._use, NetworkUse()
        return taken

    def decode(self, x0: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1], float32, of clean latents [B, C, h, w]; differentiable."""
        pixels = self.resolution[0] * self.resolution[1]
        size = len(x0) if torch.is_grad_enabled() else max(1, DECODED_PIXELS // pixels)
        return torch.cat([decode(self._vae, part, self.family.decoder) for part in x0.split(size)])

    def grid(self, steps: int) -> Tensor:
        """Times [steps + 1] of the pipeline's own scheduler for images of this size."""
        with quiet_loading():
            return self._knowing().grid(self.pipeline.transformer, steps, self.device, self.dtype)

    def sample(
        self,
        prompts: str | Sequence[str],
        *,
        seed: int = 0,
        steps: int = 40,
        images_per_prompt: int = 1,
        weights: Weights = "current",
    ) -> Pictures:
        """Images of one or more prompts, by Euler steps; those of a prompt stand side by side.

        The same as those of `fdfo generate` and of evaluations for the same prompts in the same order: an image's noise
        follows from the seed, the place of its prompt and its number there. `weights` are `current`, or `base`: before
        training.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        options = {"steps": steps, "seed": seed, "images_per_prompt": images_per_prompt, "weights": weights}
        asked = [Prompt(text=text, number=number) for number, text in enumerate(texts)]
        one_by_one = generate(self, asked, batch=images_per_prompt, **options)
        return Pictures(torch.cat([drawn.images.cpu() for drawn in one_by_one]), texts)

    def own_call(self, steps: int) -> dict[str, Any]:
        """Arguments with which the pipeline's own call draws as this policy does, beside prompt and latents."""
        return own_call(self.pipeline, self.family, self._wishes, steps)

    # ---- how it is computed ----

    def attend_by(self, kernel: AttentionKernel) -> None:
        """Compute attention by one kernel. Raises SettingError where this device or precision has none."""
        check_attention(kernel, self.device, self.dtype)
        self.attention = kernel

    def enable_checkpointing(self) -> None:
        """Recompute activations of the blocks in the backward pass."""
        self.weights.enable_checkpointing(checkpoint_with(lambda: self.attention))

    def decode_in_tiles(self, side: int) -> None:
        """Decode images that are larger than a tile of so many pixels a side in overlapping tiles."""
        set_tiles(self._vae, side)

    def compile(self) -> None:
        """Compile the repeated blocks for the shapes that are met; each, with and without gradient, costs a minute."""
        # Blocks of three kinds x gradient x adapters x batch shapes: more graphs than the default of 8.
        torch._dynamo.config.recompile_limit = 64
        for block in blocks_of(self.pipeline.transformer):
            block.compile(dynamic=None if self.family.ragged else False)

    def shardable(self) -> list[Module]:
        """The network's blocks, then the network itself; from now on it stays on its device."""
        self.parks_transformer = False
        network = self.weights.peft.get_base_model()
        return [*blocks_of(network), network]

    # ---- weights ----

    def trainable(self) -> list[Parameter]:
        """Parameters that the optimizer changes."""
        return list(self.weights.named().values())

    def save_lora(
        self,
        folder: Path,
        layout: LoraLayout = "diffusers",
        dtype: torch.dtype | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Path:
        """Write the trained adapter as a LoRA file in a layout that others read, with facts in its header; its path.

        Raises ModelError where that has no such layout.
        """
        layers = in_layout(self.weights.plain_lora(), layout, type(self.pipeline).__name__)
        path = folder / FILES[layout]
        save_tensors({name: value.to(dtype or value.dtype) for name, value in layers.items()}, path, facts)
        return path

    def save_merged(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Write the whole pipeline with the trained weights inside; the policy cannot be trained afterwards."""
        self.pipeline.transformer = self.weights.merged()
        if dtype is not None:
            self.pipeline.to(dtype=dtype)
        with quiet_loading():
            self.pipeline.save_pretrained(folder)
        for component in self.pipeline.components:
            for path in (folder / component).glob("*.safetensors"):
                give_usual_permissions(path)


def of_pipeline(policy: Policy) -> FlowPolicy:
    """The same policy, which is known to be that of a pipeline."""
    assert isinstance(policy, FlowPolicy)
    return policy


def text_encoders(pipeline: Any) -> list[Module]:
    """Those of its components that read text."""
    named = pipeline.components.items()
    return [component for name, component in named if encodes_text(name) and component is not None]


def velocity_dtype(guidance: float, dtype: torch.dtype) -> torch.dtype:
    """What holds a velocity of a network in this precision without rounding: guidance is float32 mathematics."""
    return dtype if guidance == 1 else torch.float32


def _precision(device: torch.device, dtype: torch.dtype, mixed: bool) -> AbstractContextManager[object]:
    """Autocast to `dtype` where `mixed`, else none, whatever surrounds this; entering it costs time."""
    if mixed or torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, dtype, enabled=mixed)
    return nullcontext()
