"""Find a pipeline by name and make a policy of it."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fdfo.config.tree import AdapterConfig, AttentionKernel, Config, PolicyConfig, Quantization
from fdfo.errors import ModelError
from fdfo.files import at_home
from fdfo.hub import LOADING_ERRORS, hub_advice, quiet_loading, reaching_hub
from fdfo.models.custom_policy import GuardedPolicy, custom_policy, custom_problems, is_custom
from fdfo.models.families import Wishes
from fdfo.models.inputs import knows_inputs
from fdfo.models.outline import Outline
from fdfo.models.policy import FlowPolicy, text_encoders
from fdfo.models.prompt_cache import PromptCache, encoder_identity
from fdfo.models.quantise import quantise
from fdfo.models.source import EMBEDDED_TEXT_TOKENS, ModelSource, encodes_text, name_problem
from fdfo.models.weights import FULL_FILE, TrainableWeights


def load_policy(
    path_or_name: str | Path,
    *,
    adapter: str | Path | AdapterConfig | None = None,
    start: str | Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    text_tokens: int | None = None,
    resolution: tuple[int, int] | None = None,
    guidance: float = 1.0,
    negative_prompt: str = "",
    embedded_guidance: float | None = None,
    shift: float | None = None,
    revision: str | None = None,
    t5: bool = True,
    quantize: Quantization | None = None,
    quantize_text: Quantization | None = None,
    prompt_cache: str | Path | None = None,
    prompt_memory_gib: float = PolicyConfig().prompt_memory_gib,
    gradient_checkpointing: bool = False,
    attention: AttentionKernel = "auto",
    vae_tile: int | None = None,
    compile: bool = False,
    reads_text: bool = True,
    seed: int = 0,
) -> FlowPolicy:
    """Load a text-to-image flow pipeline as a policy.

    path_or_name is `shapes` (embedded), a local pipeline folder or a hub id. adapter is None (frozen), a checkpoint,
    a LoRA file or folder of PEFT, diffusers or kohya, or an AdapterConfig for new trainable weights, initialised from
    `seed`. With start, another such file or folder, they begin as it is, and so does a checkpoint of a run that did;
    `base` is then the start. device defaults to CUDA where there is one. dtype (float32) is that of the frozen
    network; velocities are float32 always. text_tokens is the longest text in tokens, None the pipeline's own; the
    embedded model has its own. resolution is (height, width) in pixels and defaults to the model's own. guidance is
    classifier-free, 1 is off; embedded_guidance is the number that a guidance-distilled network reads, None the
    pipeline's own; shift is that of its times. quantize and quantize_text keep the frozen network and the text
    encoders in few bits. Without `reads_text` no text encoder is loaded, and no prompt can be encoded.

    Raises ModelError when the model or adapter cannot be found, read or used, with the fix.
    """
    source = ModelSource.find(str(path_or_name), revision)
    outline = Outline.of(source)
    wishes = Wishes(
        resolution=resolution or outline.native_resolution,
        guidance=guidance,
        negative_prompt=negative_prompt,
        embedded_guidance=embedded_guidance,
        text_tokens=EMBEDDED_TEXT_TOKENS if source.is_embedded else text_tokens,
        t5=t5,
        quantize_text=quantize_text,
        shift=shift,
    )
    if problems := [*outline.problems(wishes), *(outline.lacks(t5) if reads_text else ())]:
        raise ModelError(f"{source.name}: " + "; ".join(problems))
    dtype = dtype or torch.float32
    with quiet_loading():
        pipeline = _pipeline(outline, dtype, () if t5 else outline.family.dispensable, reads_text)
        quantise(pipeline.transformer, text_encoders(pipeline), quantize, quantize_text)
        policy = FlowPolicy(
            pipeline,
            outline.family,
            wishes,
            outline.latent_shape(wishes.resolution),
            device=_device(device),
            prompt_cache=_prompt_cache(source, wishes, dtype, prompt_cache, prompt_memory_gib),
        )
    policy.weights.is_quantised = quantize is not None
    # Weights in few bits stay where they are: the text encoders join them on the device.
    policy.parks_transformer = quantize is None
    _add_weights(policy.weights, type(policy.pipeline), adapter, None if start is None else Path(start), seed)
    _compute(policy, attention, vae_tile, gradient_checkpointing, compile)
    return policy


def _device(wanted: torch.device | str | None) -> torch.device:
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def _compute(
    policy: FlowPolicy, attention: AttentionKernel, tile: int | None, checkpoints: bool, compiles: bool
) -> None:
    """Settle how a policy is computed."""
    policy.attend_by(attention)
    if tile is not None:
        policy.decode_in_tiles(tile)
    if checkpoints:
        policy.enable_checkpointing()
    if compiles:
        policy.compile()


def _add_weights(
    weights: TrainableWeights,
    pipeline_class: type | None,
    adapter: str | Path | AdapterConfig | None,
    start: Path | None,
    seed: int,
) -> None:
    if isinstance(adapter, AdapterConfig):
        if start is None:
            weights.attach(adapter, seed)
        else:
            weights.start(start, adapter.kind, pipeline_class)
    elif adapter is not None and start is None:
        weights.load(Path(adapter), pipeline_class)
    elif adapter is not None and start is not None:
        weights.start(start, "full" if (Path(adapter) / FULL_FILE).is_file() else "lora", pipeline_class)
        weights.go_on(Path(adapter))


def _prompt_cache(
    source: ModelSource, wishes: Wishes, dtype: torch.dtype, folder: str | Path | None, gib: float
) -> PromptCache:
    identity = encoder_identity(source, dtype, wishes.branches, replace(wishes, guidance=1.0, shift=None))
    return PromptCache(None if folder is None else at_home(folder), identity, gib)


def _pipeline(outline: Outline, dtype: torch.dtype, dispensed: Collection[str], reads_text: bool) -> Any:
    """The pipeline with its weights, safetensors only, less some components. Raises ModelError."""
    source = outline.source
    texts = [name for name in source.components if encodes_text(name) or "tokenizer" in name]
    left_out: dict[str, Any] = dict.fromkeys([*dispensed, *([] if reads_text else texts)])
    try:
        with reaching_hub(source.location):
            return outline.pipeline_class.from_pretrained(
                source.location, revision=source.revision, dtype=dtype, use_safetensors=True, **left_out
            )
    except LOADING_ERRORS as error:
        raise ModelError(f"{source.name}: {hub_advice(error, source.revision)}") from error


def policy_from_config(
    config: PolicyConfig, *, seed: int, device: torch.device | str | None = None, start: Path | None = None
) -> FlowPolicy | GuardedPolicy:
    """The trainable policy of a run, which may start from other weights (`policy.adapter.start`, found)."""
    return configured_policy(config, adapter=config.adapter, start=start, device=device, seed=seed, trains=True)


def configured_policy(
    config: PolicyConfig,
    *,
    adapter: str | Path | AdapterConfig | None,
    start: Path | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
    trains: bool = False,
    reads_text: bool = True,
) -> FlowPolicy | GuardedPolicy:
    """The policy of a section of the configuration, with this adapter; what only training needs is left out else."""
    if is_custom(config):
        policy = custom_policy(config, _device(device))
        _add_weights(policy.weights, None, adapter, start, seed)
        return policy
    return load_policy(
        config.name,
        adapter=adapter,
        start=start,
        device=device,
        dtype=getattr(torch, config.dtype),
        text_tokens=config.text_tokens,
        resolution=config.resolution,
        guidance=config.guidance,
        negative_prompt=config.negative_prompt,
        embedded_guidance=config.embedded_guidance,
        shift=config.shift,
        revision=config.revision,
        t5=config.t5,
        quantize=config.quantize,
        quantize_text=config.quantize_text,
        prompt_cache=config.prompt_cache,
        prompt_memory_gib=config.prompt_memory_gib,
        vae_tile=config.vae_tile,
        gradient_checkpointing=trains and config.gradient_checkpointing,
        attention=config.attention if trains else "auto",
        compile=trains and config.compile,
        reads_text=reads_text,
        seed=seed,
    )


def policy_problems(config: PolicyConfig) -> list[str]:
    """What keeps a model from being used as asked, from its small configuration files alone.

    Raises ModelError for a model that cannot be found.
    """
    if is_custom(config):
        return custom_problems(config)
    if problem := name_problem(config.name):
        return [f"policy.name={problem}"]
    outline = _outline(config)
    return [*outline.problems(_wishes(config, outline), config.vae_tile), *outline.lacks(config.t5)]


def _wishes(config: PolicyConfig, outline: Outline) -> Wishes:
    return Wishes(
        resolution=config.resolution or outline.native_resolution,
        guidance=config.guidance,
        negative_prompt=config.negative_prompt,
        embedded_guidance=config.embedded_guidance,
        text_tokens=EMBEDDED_TEXT_TOKENS if outline.source.is_embedded else config.text_tokens,
        t5=config.t5,
        shift=config.shift,
    )


def is_planned(config: PolicyConfig) -> bool:
    """Whether a model's memory can be planned before a prompt is encoded. Raises ModelError."""
    return knows_inputs(_outline(config).source.pipeline_class)


def evaluated_problems(config: Config) -> list[str]:
    """What keeps the trained adapter from being judged as asked. Raises ModelError for a model that is not found."""
    if is_custom(config.policy):
        return []  # judged as it is trained
    trained, judged = _outline(config.policy), _outline(config.evaluated_policy)
    if trained.source.pipeline_class != judged.source.pipeline_class:
        kinds = f"is a {judged.source.pipeline_class}, the trained model a {trained.source.pipeline_class}"
        return [f"eval.policy={config.eval.policy} {kinds}: an adapter fits siblings alone; give one, or null"]
    sizes, own = ({key: value for key, value in one.network.items() if is_size(key)} for one in (trained, judged))
    unlike = [key for key in sizes if key in own and own[key] != sizes[key]]
    if unlike:
        return [
            f"eval.policy={config.eval.policy} has another {unlike[0]} than the trained model; give a sibling of it"
        ]
    same = policy_problems(config.policy)
    found = [problem for problem in policy_problems(config.evaluated_policy) if problem not in same]
    return [problem.replace("policy.", "eval.", 1) for problem in found]


def is_size(key: str) -> bool:
    """Whether a key of a network's configuration decides the shapes of its weights."""
    return not key.startswith("_") and key not in ("guidance_embeds", "sample_size", "is_distilled")


def seen_otherwise(config: PolicyConfig, trained: FlowPolicy) -> FlowPolicy:
    """A loaded policy for images of another size or guidance."""
    outline = _outline(config)
    wishes = _wishes(config, outline)
    cache = _prompt_cache(outline.source, wishes, trained.dtype, config.prompt_cache, config.prompt_memory_gib)
    return trained.seen(wishes, outline.latent_shape(wishes.resolution), cache)


def policy_notes(config: PolicyConfig) -> list[str]:
    """What is done otherwise than in the model's own pipeline, a line each. Raises ModelError."""
    if is_custom(config):
        return [f"{config.name}: of a file, so that its memory is not planned, and long prompts are not told"]
    return _outline(config).notes()


def side_problem(config: PolicyConfig, pixels: int) -> str | None:
    """What keeps a model from drawing images of so many pixels a side, from its small configuration files alone.

    Raises ModelError for a model that cannot be found.
    """
    return None if is_custom(config) else _outline(config).side_problem(pixels)


def latent_shape(config: PolicyConfig) -> tuple[int, int, int]:
    """Shape (C, h, w) of the configured model's latents, before any weight is read. Raises ModelError."""
    outline = _outline(config)
    return outline.latent_shape(config.resolution or outline.native_resolution)


def _outline(config: PolicyConfig) -> Outline:
    return Outline.of(ModelSource.find(config.name, config.revision))
