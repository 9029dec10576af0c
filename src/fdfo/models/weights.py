"""The trainable weights of a network: LoRA adapters or all of them, their base, snapshots and files."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from torch import Tensor
from torch.nn import Module, Parameter

from fdfo.config.tree import AdapterConfig
from fdfo.errors import ModelError, SettingError, first_line
from fdfo.files import save_tensors
from fdfo.models.lora_files import ADAPTER_FILE, adapted, read_lora, read_tensors
from fdfo.models.targets import target_modules

FULL_FILE = "transformer.safetensors"
EMA_FILE = "ema.safetensors"


class TrainableWeights:
    """Owns a frozen network, adds trainable weights to it, and evaluates it with any set of them."""

    def __init__(self, network: Module, lora_targets: tuple[str, ...]):
        self.network: Module = network.requires_grad_(False).eval()
        self.lora_targets = lora_targets
        self.kind: Literal["lora", "full"] | None = None
        self.snapshots: dict[str, dict[str, Tensor]] = {}
        self._trained: tuple[Module, dict[str, tuple[Module, str]]] | None = None
        """A network, and where its trainable parameters are: a large one has thousands of modules to look through."""
        self.is_quantised = False
        """Whether the network is in few bits, which can be neither trained nor merged into."""

    # ---- creating ----

    def attach(self, config: AdapterConfig, seed: int) -> None:
        """Add new trainable weights that leave the network's function as it is."""
        if self.is_quantised and config.kind == "full":
            raise ModelError("weights in few bits cannot be trained themselves; load the model without quantize")
        self.kind, self._trained = config.kind, None
        if config.kind == "full":
            self.network.float().requires_grad_(True)
            self.snapshots["base"] = self.copy()
            return
        targets = target_modules(self.network, config.targets, self.lora_targets)
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            target_modules=targets,
            use_rslora=config.rslora,
            use_dora=config.dora,
            init_lora_weights="gaussian",  # type: ignore[arg-type]
        )
        with torch.random.fork_rng(devices=[]):  # the adapters are made on the CPU generator
            torch.default_generator.manual_seed(seed)
            try:
                self.network = adapted(self.network, lora)
            except ValueError as error:
                raise SettingError(f"policy.adapter: {first_line(error)}") from error
        self.network.eval()

    def load(self, path: Path, pipeline_class: type | None = None) -> None:
        """Load weights saved by `save`, averaged ones where there are some, or a LoRA of PEFT, diffusers or kohya.

        What diffusers itself reads for pipelines of this class is read, too. Raises ModelError.
        """
        if (path / FULL_FILE).is_file():
            self.attach(AdapterConfig(kind="full"), seed=0)
            self.set(read_tensors(path / FULL_FILE))
        else:
            self._load_lora(path, pipeline_class)
        if (path / EMA_FILE).is_file():
            self.set(read_tensors(path / EMA_FILE))

    def start(self, path: Path, kind: Literal["lora", "full"], pipeline_class: type | None = None) -> None:
        """Load weights to train on from, of this kind; `base` is they from now on. Raises ModelError.

        Where all weights are to be trained, a LoRA is merged into them first.
        """
        self.load(path, pipeline_class)
        if self.kind == "full" and kind == "lora":
            raise SettingError(
                f"policy.adapter.start={path}: it holds all weights; set policy.adapter.kind=full, or export it as "
                "merged and give that folder as policy.name"
            )
        if self.kind == "lora" and kind == "full":
            self.network, self.kind = self.merged(), None
            self.attach(AdapterConfig(kind="full"), seed=0)
        self.snapshots["base"] = self.copy()

    def go_on(self, folder: Path) -> None:
        """Take weights saved by `save` in place of those that were started from, averaged ones where there are some."""
        self.set(read_tensors(folder / EMA_FILE) if (folder / EMA_FILE).is_file() else self.read(folder))

    def told(self) -> str:
        """What is trained, in a few words."""
        if self.kind == "full":
            return "all weights"
        ranks = {len(value) for name, value in self.named().items() if ".lora_A." in name}
        modules = sum(".lora_A." in name for name in self.named())
        return (
            f"a LoRA of rank {' to '.join(str(rank) for rank in sorted({min(ranks), max(ranks)}))} on {modules} modules"
        )

    def _load_lora(self, path: Path, pipeline_class: type | None) -> None:
        lora = read_lora(path, self.network, pipeline_class)
        try:
            self.network = adapted(self.network, lora.config).eval()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: made for another model; {first_line(error)}") from error
        self.kind = "lora"
        if lora.config.bias != "none":  # which stay when the adapter is switched off
            self.snapshots["base"] = self.copy()
        try:
            result = set_peft_model_state_dict(self.peft, lora.tensors)
        except RuntimeError as error:
            raise ModelError(f"{path}: made for another model; {str(error).splitlines()[-1].strip()}") from error
        wrong = [*result.unexpected_keys, *(key for key in result.missing_keys if "lora_" in key)]
        if wrong:
            raise ModelError(f"{path}: made for another model; {wrong[0]!r} does not fit")

    # ---- reading and writing ----

    @property
    def peft(self) -> PeftModel:
        assert isinstance(self.network, PeftModel)
        return self.network

    def named(self) -> dict[str, Parameter]:
        """Trainable parameters by name, in a fixed order."""
        if self._trained is None or self._trained[0] is not self.network:
            names = [name for name, parameter in self.network.named_parameters() if parameter.requires_grad]
            parts = [name.rpartition(".") for name in names]
            places = [(self.network.get_submodule(module), own) for module, _, own in parts]
            self._trained = (self.network, dict(zip(names, places, strict=True)))
        return {name: getattr(module, own) for name, (module, own) in self._trained[1].items()}

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
        """snapshot <- base + strength (current - base): weaker below 1, stronger above, opposite below 0.

        Raises ModelError for weights that have no such multiples.
        """
        if self.kind == "lora" and self._lora.use_dora:
            raise ModelError("--strength: the change of a DoRA adapter has no multiples; leave it at 1")
        base = self.snapshots.get("base", {})
        if any(".lora_B." in key and bool(value.any()) for key, value in base.items()):
            raise ModelError(
                "--strength: the run started from a LoRA, and its change since then has no multiples; give the run as "
                "--adapter, and it is that of the whole LoRA"
            )
        self.snapshots[name] = {
            key: strength * value
            if ".lora_B." in key
            else value
            if ".lora_A." in key
            else base[key].lerp(value, strength)
            for key, value in self.copy().items()
        }

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
            return read_tensors(folder / FULL_FILE)
        stored = read_tensors(folder / ADAPTER_FILE)
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
        elif weights == "base" and "base" not in self.snapshots:
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
        """The plain network with the trained weights inside; this object cannot be trained afterwards.

        Raises ModelError where the network is in few bits.
        """
        if self.is_quantised:
            raise ModelError("nothing can be merged into weights in few bits; load the model without quantize")
        return self.peft.merge_and_unload() if self.kind == "lora" else self.network  # type: ignore[operator]

    def plain_lora(self) -> dict[str, Tensor]:
        """LoRA weights by the network's module names, with each one's scale folded into B so that every reader agrees.

        Raises ModelError where other weights than those of a LoRA were trained.
        """
        if biases := [name for name in self.named() if ".lora_" not in name]:
            raise ModelError(f"no LoRA file holds the trained {_peft_key(biases[0])}; use --to merged")
        layers: dict[str, Tensor] = {}
        for name, value in self.copy().items():
            if ".lora_B." in name:
                layer: Any = self.network.get_submodule(name.partition(".lora_B.")[0])
                value = value * layer.scaling["default"]
            layers[_peft_key(name).removeprefix("base_model.model.")] = value.cpu().contiguous()
        return layers

    @property
    def _lora(self) -> LoraConfig:
        settings = self.peft.peft_config["default"]
        assert isinstance(settings, LoraConfig)
        return settings


def _peft_key(parameter_name: str) -> str:
    """PEFT's name of a saved adapter weight: without the name of the adapter."""
    return parameter_name.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector").replace(
        ".default.", "."
    )


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
