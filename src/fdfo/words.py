"""Counts in words."""


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """`1 epoch`, `2 epochs`; nouns: the plural, where it is not the noun with an s."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"
