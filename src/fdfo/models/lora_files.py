"""LoRA files in the layouts of PEFT, diffusers and kohya, read as PEFT's own; anything else is refused in one line.

r rank; each adapted module has A [r, in] and B [out, r], and adds scale B A.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Module

from fdfo.documents import BadDocument, parse_json
from fdfo.errors import ModelError, first_line
from fdfo.models.lora_sd3 import in_names_of_diffusers
from fdfo.models.peft_settings import PeftSettings, peft_settings
from fdfo.models.quantise import quietly

ADAPTER_FILE, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""Of PEFT."""

LORA_FILE = "pytorch_lora_weights.safetensors"
"""As diffusers names it."""

SETTINGS_KEY = "lora_adapter_metadata"
"""In the header of a file of diffusers: PEFT's settings, as JSON."""

PEFT_PREFIX = "base_model.model."
PREFIXES = (PEFT_PREFIX, "transformer.", "diffusion_model.", "model.")
UNDERSCORED = ("lora_unet_", "lora_transformer_", "lycoris_")
"""Before names whose dots have become underscores."""

ENDS = {
    ".lora_A.weight": "lora_A.weight",
    ".lora_A.default.weight": "lora_A.weight",
    ".lora_down.weight": "lora_A.weight",
    ".lora.down.weight": "lora_A.weight",
    ".lora_B.weight": "lora_B.weight",
    ".lora_B.default.weight": "lora_B.weight",
    ".lora_up.weight": "lora_B.weight",
    ".lora.up.weight": "lora_B.weight",
    ".lora_B.bias": "lora_B.bias",
    ".lora_magnitude_vector": "lora_magnitude_vector",
    ".lora_magnitude_vector.weight": "lora_magnitude_vector",
    ".alpha": "alpha",
}
"""Of keys, and what they are to PEFT; alpha is a number of its own, which gives scale = alpha / r."""

KINDS = {"hada_": "LoHa", "lokr_": "LoKr", "oft_": "OFT", "dora_scale": "kohya's DoRA", "lora_mid": "LoCon with a core"}
"""Parts of keys of what is not read."""

TEXT = ("text_encoder", "lora_te")
"""Beginnings of keys of text encoders' adapters."""


@dataclass(frozen=True)
class LoraFile:
    """An adapter as PEFT makes it and names its tensors."""

    config: LoraConfig
    tensors: dict[str, Tensor]


def read_lora(path: Path, network: Module, pipeline_class: type | None) -> LoraFile:
    """The adapter in a file, or in a folder of PEFT's or with one LoRA file, for a network of such a pipeline.

    Raises ModelError for anything else, and where a number is not finite.
    """
    lora = _read(path, network, pipeline_class)
    for name, value in lora.tensors.items():
        if not bool(value.isfinite().all()):
            raise ModelError(f"{path}: {name} is not finite; its training went astray, take an earlier one")
    return lora


def _read(path: Path, network: Module, pipeline_class: type | None) -> LoraFile:
    if (path / ADAPTER_CONFIG).is_file() and (path / ADAPTER_FILE).is_file():
        settings = peft_settings(_read_json(path / ADAPTER_CONFIG), str(path / ADAPTER_CONFIG))
        tensors = read_tensors(path / ADAPTER_FILE)
        if kind := next((KINDS[part] for part in KINDS for key in tensors if part in key), None):
            raise ModelError(f"{path}: a {kind} adapter is not read; give a LoRA")
        return _without_move(settings, tensors, network, str(path))
    file = lora_file_in(path)
    tensors = _by_module(read_tensors(file), network, pipeline_class, str(file))
    if (described := _described(file)) is not None:
        settings = peft_settings(described, f"{file}, {SETTINGS_KEY}")
        return _without_move(settings, _peft_keys(tensors), network, str(file))
    return LoraFile(_config_of(tensors, str(file)), _peft_keys(tensors))


def lora_file_in(path: Path) -> Path:
    """The LoRA file that a path means: itself, or the one in a folder. Raises ModelError."""
    if path.is_file():
        return path
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    if path / LORA_FILE in files or len(files) == 1:
        return path / LORA_FILE if path / LORA_FILE in files else files[0]
    several = f"; it has several files: name one, as {files[0]}" if files else ""
    raise ModelError(f"{path}: expected {ADAPTER_FILE} with {ADAPTER_CONFIG}, or a LoRA file (.safetensors){several}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises ModelError."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, BadDocument) as error:
        raise ModelError(f"{path}: cannot be read ({error}); save the adapter again") from error


def _described(file: Path) -> dict[str, Any] | None:
    """PEFT's settings of the network's adapter from the header of a LoRA file, if they are there."""
    with safe_open(file, "pt") as opened:
        text = (opened.metadata() or {}).get(SETTINGS_KEY)
    if text is None:
        return None
    try:
        content = json.loads(text)
        return {key.removeprefix("transformer."): value for key, value in content.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{file}: its {SETTINGS_KEY} cannot be read ({error})") from error


# ---- names ----


def _by_module(
    tensors: Mapping[str, Tensor], network: Module, pipeline_class: type | None, place: str
) -> dict[tuple[str, str], Tensor]:
    """Tensors by module and part (values of ENDS). Raises ModelError for a key that has no place in the network."""
    for key in tensors:
        if kind := next((KINDS[part] for part in KINDS if part in key), None):
            raise ModelError(
                f"{place}: a {kind} adapter ({key}) is not read; give a LoRA, or merge it into a model folder"
            )
        if key.startswith(TEXT):
            raise ModelError(
                f"{place}: it adapts a text encoder ({key}), which stays as it is here; leave these keys out"
            )
    if type(network).__name__ == "SD3Transformer2DModel":  # no converter of diffusers knows its original names
        tensors = in_names_of_diffusers(tensors, len(network.transformer_blocks))  # type: ignore[arg-type]
    modules = {name: name for name, _ in network.named_modules()}
    modules |= {name.replace(".", "_"): name for name in modules}
    found, unknown = _placed(tensors, modules)
    convert = getattr(pipeline_class, "lora_state_dict", None)
    if unknown is not None and convert is not None:
        try:
            converted = convert(dict(tensors), return_alphas=True)
        except Exception as error:  # of whichever kind: names of layers are looked up, tensors split
            raise ModelError(f"{place}: diffusers cannot convert its names ({first_line(error)})") from error
        parts = converted if isinstance(converted, tuple) else (converted,)
        found, unknown = _placed({key: value for part in parts for key, value in (part or {}).items()}, modules)
    if unknown is not None or not found:
        raise ModelError(f"{place}: made for another model, or no LoRA; {unknown or 'nothing'!r} does not fit")
    return found


def _placed(
    tensors: Mapping[str, Tensor], modules: Mapping[str, str]
) -> tuple[dict[tuple[str, str], Tensor], str | None]:
    """Tensors by module and part, and a key without a place, if there is one."""
    found: dict[tuple[str, str], Tensor] = {}
    for key, value in tensors.items():
        end = next((end for end in ENDS if key.endswith(end)), None)
        module = (
            None if end is None else next((modules[n] for n in _names(key.removesuffix(end)) if n in modules), None)
        )
        if end is None or module is None:
            return {}, key
        found[module, ENDS[end]] = torch.as_tensor(value)
    return found, None


def _names(name: str) -> Iterator[str]:
    """What a module may be called without what is put before its name."""
    yield name
    for prefix in UNDERSCORED:
        if name.startswith(prefix):
            yield name.removeprefix(prefix)
    for prefix in PREFIXES:
        if name.startswith(prefix):
            yield from _names(name.removeprefix(prefix))


def _peft_keys(tensors: Mapping[tuple[str, str], Tensor]) -> dict[str, Tensor]:
    return {f"{PEFT_PREFIX}{module}.{part}": value for (module, part), value in tensors.items() if part != "alpha"}


# ---- settings ----


def _config_of(tensors: Mapping[tuple[str, str], Tensor], place: str) -> LoraConfig:
    """Settings of an adapter that has none: ranks by its shapes, scale 1 where it says no alpha."""
    ranks = {module: len(value) for (module, part), value in tensors.items() if part == "lora_A.weight"}
    if not ranks:
        raise ModelError(f"{place}: no LoRA; it has no matrix of a lower rank")
    alphas = {module: float(ranks[module]) for module in ranks}
    alphas |= {module: float(value) for (module, part), value in tensors.items() if part == "alpha" and module in ranks}
    parts = {part for _, part in tensors}
    return uniform(ranks, alphas, use_dora="lora_magnitude_vector" in parts, lora_bias="lora_B.bias" in parts)


def uniform(
    ranks: Mapping[str, int], alphas: Mapping[str, float], *, use_dora: bool = False, lora_bias: bool = False
) -> LoraConfig:
    """Settings of an adapter with these ranks and alphas by module, with patterns for what is rare."""
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    return LoraConfig(
        r=int(rank),
        lora_alpha=alpha,  # type: ignore[arg-type]
        target_modules=list(ranks),
        rank_pattern={name: value for name, value in ranks.items() if value != rank},
        alpha_pattern={name: value for name, value in alphas.items() if value != alpha},
        use_dora=use_dora,
        lora_bias=lora_bias,
    )


def _without_move(settings: PeftSettings, tensors: dict[str, Tensor], network: Module, place: str) -> LoraFile:
    """The adapter on the network as it is, where making it took a part of each weight W into its matrices.

    That part is s B0 A0 with the matrices at the start of its training, which follow from W. So the network with the
    adapter, W - s B0 A0 + s B A, is W with an adapter of twice the rank: s [B, -B0] [A; A0].
    """
    if settings.moves_base is None:
        return LoraFile(settings.config, tensors)
    starts = _starts(settings, network, place)
    ranks, alphas = {}, {}
    for module, (a0, b0, scale) in starts.items():
        key = f"{PEFT_PREFIX}{module}.lora_"
        try:
            a, b = tensors[f"{key}A.weight"], tensors[f"{key}B.weight"]
            tensors[f"{key}A.weight"] = torch.cat([a.float(), a0])
            tensors[f"{key}B.weight"] = torch.cat([b.float(), -b0], 1)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{place}: made for another model; {first_line(error)} does not fit") from error
        ranks[module] = 2 * len(a0)
        alphas[module] = scale * ranks[module]
    config = uniform(ranks, alphas)
    config.bias = settings.config.bias
    return LoraFile(config, tensors)


def _starts(settings: PeftSettings, network: Module, place: str) -> dict[str, tuple[Tensor, Tensor, float]]:
    """A0, B0 and s by module, as PEFT makes them from the network, which is left as it was."""
    try:
        made, layers = _made(network, settings.config)  # to know which weights will be moved
        before = {name: layer.base_layer.weight.detach().clone() for name, layer in layers.items()}
        made.unload()
        settings.config.init_lora_weights = settings.moves_base  # type: ignore[assignment]
        made, layers = _made(network, settings.config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{place}: cannot be made for this model; {first_line(error)}") from error
    found = {}
    for name, layer in layers.items():
        a0, b0 = (part["default"].weight.detach().float().clone() for part in (layer.lora_A, layer.lora_B))
        found[name] = (a0, b0, float(layer.scaling["default"]))
        layer.base_layer.weight.data = before[name]
    made.unload()
    network.requires_grad_(False)
    return found


def adapted(network: Module, config: LoraConfig) -> PeftModel:
    """The network with new adapters, which PEFT makes without a word. Raises what PEFT raises."""
    with quietly():
        made = get_peft_model(network, config)  # type: ignore[arg-type]
    assert isinstance(made, PeftModel)
    return made


def _made(network: Module, config: LoraConfig) -> tuple[Any, dict[str, Any]]:
    """The network with adapters, and those by their module's name."""
    made = adapted(network, config)
    layers = {name: layer for name, layer in made.named_modules() if hasattr(layer, "lora_A")}
    return made, {name.removeprefix(PEFT_PREFIX): layer for name, layer in layers.items()}
