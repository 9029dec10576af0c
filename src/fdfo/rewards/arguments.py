"""Calls a user's score: arguments with known names are passed by name, in any order."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from torch.nn import Module

IMAGES = ("images", "prompts", "metadata")
PAIRS = ("first", "second", "prompts", "metadata")


def caller(function: Any, known: Sequence[str], options: Mapping[str, Any]) -> Callable[..., Any]:
    """`function` as one of the `known` arguments in their order; it gets the options by name with every call.

    A parameter with a known name gets what it names, and the required ones beside it what is left, in order. A function
    that uses none of the names gets all by position. Raises TypeError or ValueError where it cannot be called so.
    """
    form = signature(function.forward if isinstance(function, Module) else function)
    if _goes_by_position(form.parameters, known):
        form.bind(*known, **options)
        return lambda *values: function(*values, **options)
    fills = _fills(form.parameters, known, options)
    first = [known.index(fills[name]) for name in fills if _is_positional_only(form.parameters.get(name))]
    named = {name: known.index(source) for name, source in fills.items() if known.index(source) not in first}
    form.bind(*first, **named, **options)

    def call(*values: Any) -> Any:
        by_name = {name: values[index] for name, index in named.items()}
        return function(*(values[index] for index in first), **by_name, **options)

    return call


def _goes_by_position(parameters: Mapping[str, Parameter], known: Sequence[str]) -> bool:
    single = _single(parameters)
    if any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters.values()):
        return [parameter.name for parameter in single] == list(known[: len(single)])
    return not any(parameter.name in known for parameter in single)


def _single(parameters: Mapping[str, Parameter]) -> list[Parameter]:
    """Parameters that take one argument."""
    return [p for p in parameters.values() if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)]


def _fills(parameters: Mapping[str, Parameter], known: Sequence[str], options: Mapping[str, Any]) -> dict[str, str]:
    """The known argument of each parameter that gets one, in the parameters' order."""
    left = [name for name in known if name not in [parameter.name for parameter in _single(parameters)]]
    fills = {}
    for parameter in _single(parameters):
        if parameter.name in known:
            fills[parameter.name] = parameter.name
        elif left and parameter.default is Parameter.empty and parameter.name not in options:
            fills[parameter.name] = left.pop(0)
    if left and not any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        raise TypeError(f"no place for {', '.join(left)}")
    return fills | {name: name for name in left}


def _is_positional_only(parameter: Parameter | None) -> bool:
    return parameter is not None and parameter.kind is Parameter.POSITIONAL_ONLY
