"""For which prompts a score is asked: fields of their metadata and the values that these must have."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

_EXPECTED = (
    "expected fields of a prompt's metadata and their values, such as {category: text} or {category: [text, counting]}"
)


def _condition(value: Any) -> Any:
    """With a list of values for every field. Raises ValueError for anything else."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{_EXPECTED}, got {value!r:.80}")
    listed = {field: list(one) if isinstance(one, list | tuple) else [one] for field, one in value.items()}
    for field, values in listed.items():
        if not isinstance(field, str) or not values or not all(isinstance(one, str | int | float) for one in values):
            raise ValueError(f"{_EXPECTED}, got {{{field}: {value[field]!r:.80}}}")
    return listed


When = Annotated[dict[str, list[str | int | float | bool]], BeforeValidator(_condition)]
"""For each field the values of which a prompt must have one."""
