"""The base of every configuration section: frozen, and nothing unknown is accepted."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """One typed section; an unknown key or a wrong type is an error, reported with all others."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _has_no_nul(cls, raw: Any) -> Any:
        """NUL ends a path where the system reads it, and no name holds one."""
        for key, value in raw.items() if isinstance(raw, Mapping) else ():
            if any(isinstance(text, str) and "\0" in text for text in (value if isinstance(value, list) else [value])):
                raise ValueError(f"{key} holds the character NUL; remove it")
        return raw

    @model_validator(mode="before")
    @classmethod
    def _takes_no_truth_for_a_number(cls, raw: Any) -> Any:
        """`lr: true` would be 1.0."""
        for key, value in raw.items() if isinstance(raw, Mapping) else ():
            kinds = _kinds(cls.model_fields[key].annotation) if key in cls.model_fields else set()
            if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
                raise ValueError(f"{key}: input should be a number, got {str(value).lower()}")
        return raw


def _kinds(annotation: Any) -> set[Any]:
    """The types that a field may have."""
    inside = get_args(annotation)
    return set().union(*map(_kinds, inside)) if inside else {annotation} if isinstance(annotation, type) else set()
