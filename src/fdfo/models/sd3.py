"""Stable Diffusion 3 and 3.5 (arXiv:2403.03206) as a policy, over diffusers' own pipeline.

B samples, P prompts, [C, h, w] latent at network scale, [H, W] pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from torch import Tensor
from torch.nn import Module, Parameter

from fdfo.config.tree import AttentionKernel
from fdfo.errors import ModelError
from fdfo.files import give_usual_permissions
from fdfo.flow.grid import shifted_grid
from fdfo.flow.guidance import guided
from fdfo.flow.path import on_device
from fdfo.hub import LOADING_ERRORS, hub_advice, quiet_loading, reaching_hub
from fdfo.interfaces import Weights
from fdfo.models.attention import attention_kernel, check_attention, checkpoint_with
from fdfo.models.prompt_cache import PromptCache, encoder_identity
from fdfo.models.source import ModelSource
from fdfo.models.weights import TrainableWeights
from fdfo.records import Conditioning, NetworkUse
from fdfo.visiting import visiting

LORA_TARGETS = tuple(
    f"attn.{name}"
    for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
)
"""Attention projections of both streams; the second attention of SD3.5-Medium (attn2) is not a target (reference)."""

DECODED_PIXELS = 2**21
"""Pixels decoded at a time where no gradient is wanted: 8 images of 512 x 512."""

TILE_PARTS = 4
"""Tiles of the decoder overlap by a quarter, which has to be whole latent elements."""


class SD3Policy:
    """A StableDiffusion3Pipeline as a velocity field with trainable weights; see fdfo.interfaces.Policy."""

    def __init__(
        self,
        pipeline: StableDiffusion3Pipeline,
        *,
        device: torch.device,
        text_tokens: int,
        resolution: tuple[int, int],
        guidance: float,
        negative_prompt: str,
        prompt_cache: PromptCache | None = None,
    ):
        self.pipeline = pipeline
        self.device = device
        self.text_tokens = text_tokens
        self.resolution = resolution
        self.guidance = guidance
        self.negative_prompt = negative_prompt
        # Of the computation; weights that are trained whole are float32.
        self.dtype: torch.dtype = pipeline.transformer.dtype
        self.state_dtype, self.velocity_dtype = self.dtype, velocity_dtype(guidance, self.dtype)
        factor = pipeline.vae_scale_factor
        self.latent_shape = (int(pipeline.vae.config.latent_channels), resolution[0] // factor, resolution[1] // factor)
        self.mixed = True
        """Whether float32 trained weights are used in the network's own dtype, by autocast."""
        self.attention: AttentionKernel = "auto"
        self.branches_together = True
        """Whether the two branches of guidance share a batch: faster; one after the other takes less memory."""
        self.parks_transformer = True
        """Whether the transformer is in host memory while prompts are encoded; a sharded one cannot be moved."""
        self._use = NetworkUse()
        self.weights = TrainableWeights(pipeline.transformer.to(device), LORA_TARGETS)
        self._vae = pipeline.vae.to(device).requires_grad_(False).eval()
        self._text_encoders = [
            encoder.requires_grad_(False).eval()
            for encoder in (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
            if encoder is not None
        ]
        self._encoded = prompt_cache or PromptCache(None, "")
        self._negative: Conditioning | None = None

    @classmethod
    def from_source(
        cls,
        source: ModelSource,
        *,
        device: torch.device,
        dtype: torch.dtype,
        text_tokens: int,
        resolution: tuple[int, int] | None,
        guidance: float,
        negative_prompt: str,
        t5: bool,
        prompt_cache: Path | None = None,
    ) -> "SD3Policy":
        """Load the pipeline; safetensors only. Raises ModelError."""
        resolution = resolution or cls.native_resolution(source)
        problems = cls.problems(source, resolution)
        if problems:
            raise ModelError(f"{source.name}: " + "; ".join(problems))
        without_t5: dict[str, Any] = {} if t5 else {"text_encoder_3": None, "tokenizer_3": None}
        try:
            with reaching_hub(source.location):
                pipeline = StableDiffusion3Pipeline.from_pretrained(
                    source.location, revision=source.revision, dtype=dtype, use_safetensors=True, **without_t5
                )
        except LOADING_ERRORS as error:
            raise ModelError(f"{source.name}: {hub_advice(error, source.revision)}") from error
        return cls(
            pipeline,
            device=device,
            text_tokens=text_tokens,
            resolution=resolution,
            guidance=guidance,
            negative_prompt=negative_prompt,
            prompt_cache=PromptCache(
                prompt_cache, encoder_identity(source, text_tokens=text_tokens, dtype=str(dtype), t5=t5)
            ),
        )

    @staticmethod
    def problems(source: ModelSource, resolution: tuple[int, int], vae_tile: int | None = None) -> list[str]:
        """What keeps this model from being used at (height, width), from its small configuration files alone."""
        factor = _vae_factor(source)
        sides = zip(("height", "width"), resolution, strict=True)
        problems = {name: SD3Policy.side_problem(source, pixels) for name, pixels in sides}
        found = [f"policy.resolution: {name} {problem}" for name, problem in problems.items() if problem]
        if vae_tile is not None and vae_tile % (TILE_PARTS * factor):
            above = -(-vae_tile // (TILE_PARTS * factor)) * TILE_PARTS * factor
            found.append(f"policy.vae_tile: {vae_tile} is not a multiple of {TILE_PARTS * factor}; use {above}")
        scheduler = source.component_config("scheduler", "scheduler_config.json")
        if scheduler.get("use_dynamic_shifting") or scheduler.get("use_karras_sigmas"):
            found.append("its scheduler uses another time grid than the Stable Diffusion 3 family")
        return found

    @staticmethod
    def side_problem(source: ModelSource, pixels: int) -> str | None:
        """What keeps this model from drawing images that are so many pixels high or wide."""
        transformer = source.component_config("transformer")
        unit = _vae_factor(source) * int(transformer["patch_size"])
        largest = int(transformer["pos_embed_max_size"]) * unit
        if pixels % unit:
            down, up = pixels // unit * unit, -(-pixels // unit) * unit
            return f"{pixels} is not a multiple of {unit}; use {down or up} or {up}"
        return f"{pixels} exceeds the model's largest, {largest}" if pixels > largest else None

    @staticmethod
    def native_resolution(source: ModelSource) -> tuple[int, int]:
        """The model's own (height, width) in pixels."""
        side = int(source.component_config("transformer")["sample_size"]) * _vae_factor(source)
        return side, side

    @staticmethod
    def latent_shape_of(source: ModelSource, resolution: tuple[int, int]) -> tuple[int, int, int]:
        """Shape (C, h, w) of a latent at (height, width), from the small configuration files alone."""
        factor = _vae_factor(source)
        channels = int(source.component_config("vae")["latent_channels"])
        return channels, resolution[0] // factor, resolution[1] // factor

    # ---- prompts ----

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts [P] as the pipeline does; each text once, then from host memory. Rows on `device`."""
        self.prepare(prompts)
        return Conditioning.cat([self._encoded[text] for text in prompts]).to(self.device)

    @torch.no_grad()
    def prepare(self, prompts: Sequence[str], watch: Callable[[], None] = lambda: None) -> None:
        """Encode prompts into host memory, with the text encoders alone on the device; `watch` may raise to stop.

        One at a time: what would share a batch depends on what is cached, and its rounding would end exact resume.
        """
        wanted = dict.fromkeys(prompts if self.guidance == 1 else [*prompts, self.negative_prompt])
        with self._encoders_on_device() if self._encoded.missing(wanted) else nullcontext():
            self._encoded.fill(wanted, self._encode_one, watch)

    @contextmanager
    def _encoders_on_device(self) -> Iterator[None]:
        """The text encoders on the device in the transformer's place."""
        try:
            if self.parks_transformer:
                self.weights.place("cpu")
            # The pipeline warns of every text beyond CLIP's 77 tokens; T5 reads on.
            with visiting(self._text_encoders, self.device), quiet_loading():
                yield
        finally:
            if self.parks_transformer:
                self.weights.place(self.device)

    def _encode_one(self, text: str) -> Conditioning:
        """One row, on the CPU."""
        tokens, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=[text],
            prompt_2=[text],
            prompt_3=[text],
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.text_tokens,
        )
        assert tokens is not None and pooled is not None
        return Conditioning(tokens=tokens.cpu(), pooled=pooled.cpu())

    # ---- the flow ----

    def velocity(self, x: Tensor, t: float | Tensor, cond: Conditioning, *, weights: Weights = "current") -> Tensor:
        """Guided velocity [B, C, h, w], float32, of states x [B, C, h, w] at time t (a number or [B])."""
        times = on_device(t, x.device, torch.float32).expand(len(x))
        if self.guidance == 1:
            return self._network(x, times, cond, weights)
        if self._negative is None:
            self._negative = self.encode([self.negative_prompt])
        negative = self._negative[torch.zeros(len(x), dtype=torch.long, device=x.device)]
        if not self.branches_together:
            unguided = self._network(x, times, negative, weights)
            return guided(unguided, self._network(x, times, cond, weights), scale=self.guidance)
        both = self._network(torch.cat([x, x]), times.repeat(2), Conditioning.cat([negative, cond]), weights)
        return guided(*both.chunk(2), scale=self.guidance)

    def attend_by(self, kernel: AttentionKernel) -> None:
        """Compute attention by one kernel. Raises ModelError where this device or precision has none."""
        check_attention(kernel, self.device, self.dtype)
        self.attention = kernel

    def enable_checkpointing(self) -> None:
        """Recompute activations of the blocks in the backward pass."""
        self.weights.enable_checkpointing(checkpoint_with(lambda: self.attention))

    def decode_in_tiles(self, side: int) -> None:
        """Decode images that are larger than a tile of so many pixels a side in overlapping tiles."""
        vae: Any = self._vae
        vae.enable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = side, side // self.pipeline.vae_scale_factor

    def compile(self) -> None:
        """Compile the repeated blocks for the shapes that are met; each, with and without gradient, costs a minute."""
        # Blocks of three kinds x gradient x adapters x batch shapes: more graphs than the default of 8.
        torch._dynamo.config.recompile_limit = 64
        for block in self.pipeline.transformer.transformer_blocks:
            block.compile(dynamic=False)

    def _network(self, x: Tensor, times: Tensor, cond: Conditioning, weights: Weights) -> Tensor:
        """Velocity [B, C, h, w] without guidance, counted."""
        if torch.is_grad_enabled():
            self._use.trained += len(x)
        else:
            self._use.forward += len(x)
        mixed = self.mixed and self.weights.kind is not None and self.dtype != torch.float32
        with (
            self.weights.use(weights) as network,
            torch.autocast(self.device.type, self.dtype, enabled=mixed),
            attention_kernel(self.attention),
        ):
            (v,) = network(
                hidden_states=x.to(self.dtype),
                timestep=times * self.pipeline.scheduler.config.num_train_timesteps,
                encoder_hidden_states=cond.tokens.to(self.dtype),
                pooled_projections=cond.pooled.to(self.dtype),
                return_dict=False,
            )
        return v.float()

    def take_use(self) -> NetworkUse:
        """Network evaluations since the last call."""
        taken, self._use = self._use, NetworkUse()
        return taken

    def decode(self, x0: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1], float32, of clean latents [B, C, h, w]; differentiable."""
        config: Any = self._vae.config
        latents = (x0 / config.scaling_factor + config.shift_factor).to(self._vae.dtype)
        size = (
            len(x0) if torch.is_grad_enabled() else max(1, DECODED_PIXELS // (self.resolution[0] * self.resolution[1]))
        )
        images = torch.cat([self._vae.decode(part, return_dict=False)[0] for part in latents.split(size)])
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def grid(self, steps: int) -> Tensor:
        """Times [steps + 1] of the pipeline's own scheduler."""
        config = self.pipeline.scheduler.config
        return shifted_grid(steps, float(config.shift), int(config.num_train_timesteps))

    def shardable(self) -> list[Module]:
        """The network's blocks, then the network itself; from now on it stays on its device."""
        self.parks_transformer = False
        network: Any = self.weights.peft.get_base_model()
        return [*network.transformer_blocks, network]

    def save_lora(self, folder: Path) -> None:
        """Write the trained adapter as a LoRA file that diffusers and ComfyUI read."""
        StableDiffusion3Pipeline.save_lora_weights(folder, transformer_lora_layers=self.weights.diffusers_lora())
        give_usual_permissions(folder / LORA_WEIGHT_NAME_SAFE)

    def save_merged(self, folder: Path) -> None:
        """Write the whole pipeline with the trained weights inside; the policy cannot be trained afterwards."""
        self.pipeline.transformer = self.weights.merged()
        self.pipeline.save_pretrained(folder)
        for component in self.pipeline.components:
            for path in (folder / component).glob("*.safetensors"):
                give_usual_permissions(path)

    def trainable(self) -> list[Parameter]:
        """Parameters that the optimizer changes."""
        return list(self.weights.named().values())


def velocity_dtype(guidance: float, dtype: torch.dtype) -> torch.dtype:
    """What holds a velocity of a network in this precision without rounding: guidance is float32 mathematics."""
    return dtype if guidance == 1 else torch.float32


def _vae_factor(source: ModelSource) -> int:
    """Pixels per latent element along each side."""
    return 2 ** (len(source.component_config("vae")["block_out_channels"]) - 1)
