"""Lines of metrics.jsonl, as they must be for others to read them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

Number = float | None
"""None is what is not finite."""


class _Event(BaseModel):
    model_config = ConfigDict(extra="allow")

    event: str
    epoch: NonNegativeInt


class _Numbers(_Event):
    """All else that it holds are numbers."""

    __pydantic_extra__: dict[str, Number] = Field(init=False)  # type: ignore[reportIncompatibleVariableOverride]


class _Cost(BaseModel):
    images: NonNegativeInt
    forwards: NonNegativeInt
    trained: NonNegativeInt


class _Rollout(_Numbers):
    total: _Cost
    seconds: dict[str, float] = {}


class _Update(_Numbers):
    update: NonNegativeInt


class _Interval(BaseModel):
    mean: Number
    low: Number
    high: Number


class _Evaluation(_Event):
    scores: dict[str, _Interval]
    signals: dict[str, _Interval]
    seconds: dict[str, float] = {}


class _Alarm(_Event):
    name: str
    message: str


_KINDS: dict[str, type[_Event]] = {
    "rollout": _Rollout,
    "update": _Update,
    "evaluation": _Evaluation,
    "alarm": _Alarm,
    "training_alarm": _Alarm,
}


def checked_event(content: Any) -> dict[str, Any]:
    """The event as it stands in the file. Raises ValueError, or another error, for what is none."""
    _KINDS.get(content["event"], _Event).model_validate(content)
    return content
