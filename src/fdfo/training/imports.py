"""Finds the files that a user's file imports from its own folder, by its statements and by what is loaded."""

import ast
import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

USER_FILE = "fdfo_user_file_"
"""Prefix of the names of modules that are made of a user's files."""


def imported_from(path: Path) -> list[Path]:
    """Files of modules in the folder of a file (absolute) or below it, without itself and without installed packages.

    Those that its statements name, and theirs in turn, wherever they stand: a function may run them late. And those
    that are there already, for there are other ways to import.
    """
    named: set[Path] = set()
    _follow(path, path.parent, named)
    return sorted({*named, *_loaded_below(path.parent)} - {path})


def file_of_module(module: Any) -> str | None:
    """The file of a module, if it has one."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def _follow(path: Path, root: Path, named: set[Path]) -> None:
    named.add(path)
    for name in _names(path, root):
        parts = name.split(".")
        for place in (root.joinpath(*parts[: count + 1]) for count in range(len(parts))):
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                if file.is_file() and file not in named and not _is_of_a_package(file):
                    _follow(file, root, named)


def _names(path: Path, root: Path) -> Iterator[str]:
    """Dotted names of what a file imports, from root on; of `from a import b` both, for b may be a module."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):  # it will tell when it is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = [*path.relative_to(root).parts[: -node.level]] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)


def _loaded_below(root: Path) -> Iterator[Path]:
    libraries = tuple(f"{place}{os.sep}" for place in _places())  # most modules: nothing of them is looked up
    modules = [module for name, module in [*sys.modules.items()] if not name.startswith(USER_FILE)]
    files = [file for module in modules if (file := file_of_module(module)) and not file.startswith(libraries)]
    found = (Path(file).resolve() for file in files)
    return (file for file in found if root in file.parents and file.is_file() and not _is_of_a_package(file))


def _is_of_a_package(file: Path) -> bool:
    """Whether it was installed, or is this package's."""
    resolved = file.resolve()
    return any(Path(place).resolve() in resolved.parents for place in _places())


@cache
def _places() -> tuple[str, ...]:
    return (*sysconfig.get_paths().values(), sys.prefix, str(Path(__file__).parents[1]))
