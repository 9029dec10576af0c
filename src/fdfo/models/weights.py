"""The trainable weights of a network: LoRA adapters or all of them, their base, snapshots and files."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Linear, Module, ModuleList, Parameter

from fdfo.config.tree import AdapterConfig
from fdfo.errors import ModelError, first_line
from fdfo.files import save_tensors

ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
FULL_FILE = "transformer.safetensors"
EMA_FILE = "ema.safetensors"


class TrainableWeights:
    """Owns a frozen network, adds trainable weights to it, and evaluates it with any set of them."""

    def __init__(self, network: Module, lora_targets: tuple[str, ...]):
        self.network: Module = network.requires_grad_(False).eval()
        self.lora_targets = lora_targets
        self.kind: Literal["lora", "full"] | None = None
        self.snapshots: dict[str, dict[str, Tensor]] = {}

    # ---- creating ----

    def attach(self, config: AdapterConfig, seed: int) -> None:
        """Add new trainable weights that leave the network's function as it is."""
        self.kind = config.kind
        if config.kind == "full":
            self.network.float().requires_grad_(True)
            self.snapshots["base"] = self.copy()
            return
        targets = list(config.targets or self.lora_targets)
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            target_modules=targets,
            init_lora_weights="gaussian",  # type: ignore[arg-type]
        )
        with torch.random.fork_rng(devices=[]):  # the adapters are made on the CPU generator
            torch.default_generator.manual_seed(seed)
            try:
                self.network = get_peft_model(self.network, lora)  # type: ignore[arg-type]
            except ValueError as error:
                said = f"{first_line(error)}; {_linear(self.network)}"
                raise ModelError(f"policy.adapter.targets={targets}: {said}") from error
        self.network.eval()

    def load(self, folder: Path) -> None:
        """Load weights saved by `save` or by PEFT, averaged ones where there are some. Raises ModelError."""
        if (folder / FULL_FILE).is_file():
            self.attach(AdapterConfig(kind="full"), seed=0)
            self.set(_read(folder / FULL_FILE))
        elif (folder / ADAPTER_FILE).is_file() and (folder / ADAPTER_CONFIG).is_file():
            self._load_lora(folder)
        else:
            raise ModelError(f"{folder}: expected {ADAPTER_FILE} with {ADAPTER_CONFIG}, or {FULL_FILE}")

        if (folder / EMA_FILE).is_file():
            self.set(_read(folder / EMA_FILE))

    def _load_lora(self, folder: Path) -> None:
        config = LoraConfig.from_pretrained(str(folder))
        assert isinstance(config, LoraConfig)
        config.inference_mode = False
        self.network = get_peft_model(self.network, config).eval()  # type: ignore[arg-type]
        self.kind = "lora"
        try:
            result = set_peft_model_state_dict(self.peft, _read(folder / ADAPTER_FILE))
        except RuntimeError as error:
            raise ModelError(f"{folder}: made for another model; {str(error).splitlines()[-1].strip()}") from error
        wrong = [*result.unexpected_keys, *(key for key in result.missing_keys if "lora_" in key)]
        if wrong:
            raise ModelError(f"{folder}: made for another model; {wrong[0]!r} does not fit")

    # ---- reading and writing ----

    @property
    def peft(self) -> PeftModel:
        assert isinstance(self.network, PeftModel)
        return self.network

    def named(self) -> dict[str, Parameter]:
        """Trainable parameters by name, in a fixed order."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def copy(self) -> dict[str, Tensor]:
        """Current values of the trainable parameters."""
        return {name: p.detach().clone() for name, p in self.named().items()}

    @torch.no_grad()
    def set(self, values: Mapping[str, Tensor]) -> None:
        """Overwrite the trainable parameters; names and shapes must be the same."""
        parameters = self.named()
        if parameters.keys() != values.keys():
            raise ModelError("the saved weights belong to another model or adapter")
        for name, parameter in parameters.items():
            parameter.copy_(values[name])

    @torch.no_grad()
    def average(self, name: str, decay: float) -> None:
        """snapshot <- decay snapshot + (1 - decay) current values, in place."""
        for parameter, value in self.named().items():
            self.snapshots[name][parameter].lerp_(value, 1 - decay)

    def strengthen(self, name: str, strength: float) -> None:
        """snapshot <- base + strength (current - base): weaker below 1, stronger above, opposite below 0."""
        values = self.copy()
        if self.kind == "full":
            base = self.snapshots["base"]
            self.snapshots[name] = {key: base[key].lerp(value, strength) for key, value in values.items()}
        else:
            up = {key: strength * value for key, value in values.items() if ".lora_B." in key}
            self.snapshots[name] = values | up

    def save(self, folder: Path, values: Mapping[str, Tensor] | None = None) -> None:
        """Write trainable weights (the current ones, or `values`): PEFT's files for LoRA, one file for a full model."""
        values = {name: value.detach().cpu().contiguous() for name, value in (values or self.named()).items()}
        if self.kind == "full":
            save_tensors(values, folder / FULL_FILE)
            return
        save_tensors({_peft_key(name): value for name, value in values.items()}, folder / ADAPTER_FILE)
        self.peft.peft_config["default"].save_pretrained(str(folder))

    def read(self, folder: Path) -> dict[str, Tensor]:
        """Values written by `save`, by parameter name."""
        if self.kind == "full":
            return _read(folder / FULL_FILE)
        stored = _read(folder / ADAPTER_FILE)
        return {name: stored[_peft_key(name)] for name in self.named()}

    # ---- using ----

    def place(self, device: torch.device | str) -> None:
        """Move the network with its gradients, and all snapshots; who holds a parameter or snapshot goes on with it."""
        self.network.to(device)
        for values in self.snapshots.values():
            for name in values:
                values[name] = values[name].to(device)

    @contextmanager
    def use(self, weights: str) -> Iterator[Module]:
        """The network with the `current` weights, the `base` ones, or those of a snapshot (without gradient)."""
        if weights == "current" or (weights == "base" and self.kind is None):
            yield self.network
        elif weights == "base" and self.kind == "lora":
            with self.peft.disable_adapter():
                yield self.network
        else:
            assert not torch.is_grad_enabled(), "snapshots are evaluated without gradient"
            with _swapped(self.named(), self.snapshots[weights]):
                yield self.network

    def enable_checkpointing(self, function: Callable[..., Any] | None = None) -> None:
        """Recompute activations of the blocks in the backward pass, by torch's checkpoint or another function."""
        base: Any = self.peft.get_base_model() if self.kind == "lora" else self.network
        base.enable_gradient_checkpointing(function)

    def merged(self) -> Module:
        """The plain network with the trained weights inside; this object cannot be trained afterwards."""
        return self.peft.merge_and_unload() if self.kind == "lora" else self.network  # type: ignore[operator]

    def diffusers_lora(self) -> dict[str, Tensor]:
        """LoRA weights by diffusers' module names, with alpha / rank folded into B so that every reader agrees."""
        lora = self.peft.peft_config["default"]
        assert isinstance(lora, LoraConfig)
        scale = lora.lora_alpha / lora.r
        layers: dict[str, Tensor] = {}
        for name, value in self.copy().items():
            value = value.cpu().contiguous()
            layers[_peft_key(name).removeprefix("base_model.model.")] = value * scale if ".lora_B." in name else value
        return layers


def blocks_of(network: Module) -> list[Module]:
    """The repeated blocks of one of diffusers' networks, in order."""
    kinds = getattr(network, "_repeated_blocks", None) or getattr(network, "_no_split_modules", None)
    if kinds:
        return [module for module in network.modules() if type(module).__name__ in kinds]
    return [block for child in network.children() if isinstance(child, ModuleList) for block in child]


def _linear(network: Module) -> str:
    """The ends of names that adapters may be given to."""
    layers = (name for name, module in network.named_modules() if isinstance(module, Linear))
    return f"its linear layers: {', '.join(sorted({'.'.join(name.split('.')[-2:]) for name in layers}))}"


def _peft_key(parameter_name: str) -> str:
    """PEFT's name of a saved adapter weight: without the name of the adapter."""
    return parameter_name.replace(".default.", ".")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error


@contextmanager
def _swapped(parameters: Mapping[str, Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Point the parameters at other values, and back."""
    original = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = values[name]
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = original[name]
