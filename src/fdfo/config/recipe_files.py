"""The shipped recipes by name, and what is said where a recipe is not found."""

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from fdfo.errors import meant

RECIPES = files("fdfo.config") / "recipes"

ENDINGS = (".yaml", ".yml")
"""Of the files that are read as recipes."""

LEAST_GROUP = 4
"""Recipes whose names begin alike, from so many on, share a line of a list."""


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(entry.name.removesuffix(".yaml") for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by how they begin: `sd35-` with the ends of those, and under "" all that stand alone, whole."""
    names = sorted(names)
    firsts = [name.partition("-")[0] for name in names]
    groups: dict[str, list[str]] = {"": []}
    for name, first in zip(names, firsts, strict=True):
        is_one_of_many = "-" in name and firsts.count(first) >= LEAST_GROUP
        groups.setdefault(f"{first}-" if is_one_of_many else "", []).append(
            name.removeprefix(f"{first}-") if is_one_of_many else name
        )
    return groups


def no_recipe(path: Path, names: Iterable[str]) -> str:
    """What is wrong with a path that is neither the name of a shipped recipe nor a YAML file, with the way out."""
    if path.is_dir():
        return f"a folder is no recipe; a run folder is continued by `fdfo train --run {path}`"
    if path.is_file():
        return f"a recipe's name ends in {ENDINGS[0]}; rename the file"
    if beside := _meant_beside(path):
        return f"no such file; did you mean {beside}?"
    if path.suffix not in ENDINGS and (found := meant(str(path), names)):
        return f"no such recipe, and no YAML file; did you mean {found!r}?"
    return "no such recipe, and no YAML file; `fdfo train --help` lists the recipes, `fdfo init` writes one of yours"


def _meant_beside(path: Path) -> Path | None:
    """The YAML file of a near name in the same folder."""
    if not path.parent.is_dir():
        return None
    beside = {one.stem: one for one in sorted(path.parent.iterdir()) if one.suffix in ENDINGS and one.is_file()}
    stem = path.stem if path.suffix in ENDINGS else path.name
    found = stem if stem in beside else meant(stem, beside)
    return beside[found] if found is not None else None
