"""How diffusers draws with an exported adapter, as lines of Python."""

from pathlib import Path

from fdfo.config.tree import PolicyConfig
from fdfo.models.lora_files import LORA_FILE
from fdfo.models.modular import Face, named
from fdfo.models.policy import FlowPolicy
from fdfo.models.source import ModelSource


def diffusers_code(policy: FlowPolicy, settings: PolicyConfig, repository: str, steps: int) -> str:
    """Lines that load the pipeline with the adapter in `repository` and draw as the policy does.

    `{prompt}` stands for a text.
    """
    left_out = "" if settings.t5 else ", text_encoder_3=None, tokenizer_3=None"
    given = policy.own_call(steps)
    shift = f"pipeline.scheduler.config, use_dynamic_shifting=False, shift={settings.shift}"
    shifted = [] if settings.shift is None else [f"pipeline.scheduler = type(pipeline.scheduler).from_config({shift})"]
    on_hub = is_on_hub(settings)
    base = settings.name if on_hub else ModelSource.find(settings.name).location
    whose = "" if on_hub else f"  # your copy of {base_name(settings)}"
    loading = f"pipeline.load_lora_weights({repository!r})"
    weaker = "pipeline.set_adapters(pipeline.get_active_adapters(), 0.7)"
    if not hasattr(policy.pipeline, "load_lora_weights"):
        options = f"prefix='transformer', weight_name={LORA_FILE!r}"
        loading = f"pipeline.transformer.load_lora_adapter({repository!r}, {options})"
        weaker = "pipeline.transformer.set_adapters(pipeline.transformer.active_adapters(), 0.7)"
    if isinstance(policy.pipeline, Face):
        made, drawing = policy.pipeline.code(f"{base!r}", f"torch.{settings.dtype}", whose, given)
    else:
        call = f"{base!r}, dtype=torch.{settings.dtype}{left_out}"
        made = [
            "from diffusers import DiffusionPipeline",
            "",
            f"pipeline = DiffusionPipeline.from_pretrained({call}){whose}",
        ]
        drawing = [f"image = pipeline(prompt={{prompt}}{named(given)}).images[0]"]
    strength = f"# {weaker}  # a weaker effect; 1.3: a stronger one"
    return "\n".join(["import torch", *made, *shifted, loading, strength, *drawing])


def base_name(settings: PolicyConfig) -> str:
    """What others call the model: its hub id, or the name of its folder, whose path says nothing elsewhere."""
    return Path(settings.name).resolve().name if Path(settings.name).is_dir() else settings.name


def is_on_hub(settings: PolicyConfig) -> bool:
    """Whether the model is one of the hub, and no folder here."""
    return "/" in settings.name and not Path(settings.name).exists()
