"""The settings of an adapter that PEFT wrote, checked: what is not read here is refused by its name."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from peft import LoraConfig
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StrictBool, ValidationError

from fdfo.errors import ModelError, shown

ABOUT = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"}
"""What says something about the file, and nothing about the function."""

ABOUT |= {"task_type", "lora_dropout"}
"""Of training alone."""

NOT_READ = "LoRA is, with rsLoRA, DoRA, PiSSA, OLoRA, biases, and patterns of rank and alpha: merge it, or convert it"


class _Settings(BaseModel):
    """The fields that decide the function of an adapter."""

    model_config = ConfigDict(extra="allow")

    r: PositiveInt
    lora_alpha: Annotated[float, Field(allow_inf_nan=False)]
    target_modules: list[str] | str
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, PositiveInt] = {}
    alpha_pattern: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    use_rslora: StrictBool = False
    use_dora: StrictBool = False
    lora_bias: StrictBool = False
    bias: Literal["none", "all", "lora_only"] = "none"
    init_lora_weights: StrictBool | Literal["gaussian", "eva", "orthogonal", "pissa", "olora"] = True


@dataclass(frozen=True)
class PeftSettings:
    """How an adapter is made for a network, and what its making does to the network's own weights."""

    config: LoraConfig
    """Of an adapter whose making changes no weight of the network."""
    moves_base: Literal["pissa", "olora"] | None
    """The way of making it that takes a part of each weight into the adapter."""


def peft_settings(content: Any, place: str) -> PeftSettings:
    """Settings from the content of an adapter_config.json. Raises ModelError, a line that begins with the place."""
    if not isinstance(content, Mapping):
        raise ModelError(f"{place}: expected an object of settings, got {shown(content)}")
    kind = content.get("peft_type")
    if kind not in ("LORA", None):
        raise ModelError(f"{place}: an adapter of peft_type {shown(kind)} is not read; {NOT_READ}")
    usual = LoraConfig().to_dict()
    for key in content.keys() - _Settings.model_fields.keys() - ABOUT:
        if content[key] and content[key] != usual.get(key):
            raise ModelError(f"{place}: {key}={shown(content[key])} is not read; {NOT_READ}")
    try:
        settings = _Settings.model_validate({key: value for key, value in content.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"][:1]))
        raise ModelError(f"{place}: {name}={shown(content.get(name))}: {first['msg']}; {NOT_READ}") from None
    fields = settings.model_dump(include=set(_Settings.model_fields))
    made = fields.pop("init_lora_weights")
    moves_base = made if made in ("pissa", "olora") else None
    if moves_base and settings.use_dora:
        raise ModelError(f"{place}: DoRA made by {moves_base} is not read; {NOT_READ}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that have no effect
        try:
            return PeftSettings(LoraConfig(**fields), moves_base)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise ModelError(f"{place}: {' '.join(str(error).split())}") from error
