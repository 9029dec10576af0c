"""How diffusers draws with an exported adapter, as lines of Python."""

from pathlib import Path

from fdfo.config.tree import PolicyConfig
from fdfo.models.policy import FlowPolicy
from fdfo.models.source import ModelSource


def diffusers_code(policy: FlowPolicy, settings: PolicyConfig, repository: str, steps: int) -> str:
    """Lines that load the pipeline with the adapter in `repository` and draw as the policy does.

    `{prompt}` stands for a text.
    """
    left_out = "" if settings.t5 else ", text_encoder_3=None, tokenizer_3=None"
    call = "".join(f", {name}={value!r}" for name, value in policy.own_call(steps).items())
    shift = f"pipeline.scheduler.config, use_dynamic_shifting=False, shift={settings.shift}"
    shifted = [] if settings.shift is None else [f"pipeline.scheduler = type(pipeline.scheduler).from_config({shift})"]
    base = settings.name if is_on_hub(settings) else ModelSource.find(settings.name).location
    lines = [
        "import torch",
        "from diffusers import DiffusionPipeline",
        "",
        f"pipeline = DiffusionPipeline.from_pretrained({base!r}, dtype=torch.{settings.dtype}{left_out})",
        *shifted,
        f"pipeline.load_lora_weights({repository!r})",
        f"image = pipeline({{prompt}}{call}).images[0]",
    ]
    return "\n".join(lines)


def is_on_hub(settings: PolicyConfig) -> bool:
    """Whether the model is one of the hub, and no folder here."""
    return "/" in settings.name and not Path(settings.name).exists()
