"""Which modules of a network get adapters."""

import re
from collections.abc import Sequence

from torch.nn import Linear, Module, ModuleList

from fdfo.errors import SettingError, shown

ATTENTION, WITH_MLP, ALL_LINEAR = "attention", "attention+mlp", "all-linear"

MLP = re.compile(r"(.*\.)?(ff|ff_context|feed_forward|mlp|img_mlp|txt_mlp)\..*|(.*\.)?(proj_mlp|proj_out)")
"""Names of feed-forward layers within a block, in all families."""


def blocks_of(network: Module) -> list[Module]:
    """The repeated blocks of one of diffusers' networks, in order."""
    kinds = getattr(network, "_repeated_blocks", None) or getattr(network, "_no_split_modules", None)
    if kinds:
        return [module for module in network.modules() if type(module).__name__ in kinds]
    return [block for child in network.children() if isinstance(child, ModuleList) for block in child]


def target_modules(network: Module, wanted: Sequence[str] | str | None, attention: Sequence[str]) -> list[str]:
    """Ends of names, or names, of the modules that get adapters, `attention` being the family's own ends.

    Raises SettingError, with the names there, where something that was asked for matches nothing.
    """
    if wanted is None or wanted == ATTENTION:
        return list(attention)
    layers = [name for name, module in network.named_modules() if isinstance(module, Linear)]
    if not isinstance(wanted, str):
        for end in wanted:
            if not any(name == end or name.endswith(f".{end}") for name in layers):
                raise _nothing(wanted, f"{end!r} matches none of them", layers)
        return list(wanted)
    inside = set(_in_blocks(network))
    if wanted == ALL_LINEAR:
        return [name for name in layers if name in inside]
    if wanted == WITH_MLP:
        ends = tuple(f".{end}" for end in attention)
        found = [name for name in layers if name.endswith(ends) or (name in inside and MLP.fullmatch(name))]
        if not any(MLP.fullmatch(name) and not name.endswith(ends) for name in found):
            raise _nothing(wanted, "its blocks have no linear feed-forward layers", layers)
        return found
    try:
        found = [name for name in layers if re.fullmatch(wanted, name)]
    except re.error as error:
        raise SettingError(f"policy.adapter.targets={shown(wanted)}: no regular expression ({error})") from error
    if not found:
        raise _nothing(wanted, "it matches the whole name of none of them", layers)
    return found


def _in_blocks(network: Module) -> list[str]:
    """Names of all modules within the repeated blocks."""
    names = {id(module): name for name, module in network.named_modules()}
    return [f"{names[id(block)]}.{name}" for block in blocks_of(network) for name, _ in block.named_modules() if name]


def _nothing(wanted: object, why: str, layers: Sequence[str]) -> SettingError:
    listed = shown(list(wanted) if isinstance(wanted, tuple) else wanted)
    ends = sorted({".".join(name.split(".")[-2:]) for name in layers})
    return SettingError(f"policy.adapter.targets={listed}: {why}; its linear layers: {', '.join(ends)}")
