"""What trackers such as TensorBoard are told."""

from collections.abc import Mapping
from typing import Any


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as `section.key`, with values that every tracker takes."""
    settings: dict[str, str | int | float | bool] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            settings.update(flat(value, f"{prefix}{key}."))
        else:
            settings[prefix + key] = value if isinstance(value, str | int | float | bool) else str(value)
    return settings
