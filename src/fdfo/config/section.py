"""The base of every configuration section: frozen, and nothing unknown is accepted."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One typed section; an unknown key or a wrong type is an error, reported with all others."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)
