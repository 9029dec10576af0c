"""Scores of a user's own file: `path/to/file.py:name`."""

import sys
from hashlib import blake2b
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

import torch

from fdfo.errors import RewardError, nearest


def is_file_name(name: str) -> bool:
    """Whether a reward's name is that of a Python file, with or without the `:name` behind it."""
    return ".py:" in name or name.endswith(".py")


def file_of(name: str) -> Path:
    """The file that `path/to/file.py:name` is in, whether it exists or not."""
    return Path(name.rpartition(":")[0] if ".py:" in name else name).expanduser()


def find_in_file(name: str) -> Any:
    """The function, class or object that `path/to/file.py:name` names.

    The file becomes a module of a name of its own; while it runs, its folder can be imported from. A file that has not
    changed is run once. Raises RewardError for a missing file or name and for a file that cannot be run.
    """
    attribute = name.rpartition(":")[2] if ".py:" in name else ""
    path = file_of(name)
    if not path.is_file():
        raise RewardError(f"reward {name!r}: no file {str(path.absolute())!r}; give its path as path/to/file.py:name")
    module = _run(path.resolve(), name)
    if attribute not in vars(module):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        hint = nearest(attribute, own) if own else "it defines none; add def score(images, prompts, metadata)"
        wanted = f"no {attribute!r} in the file" if attribute else "which function of the file? add it as file.py:name"
        raise RewardError(f"reward {name!r}: {wanted}; {hint}")
    return vars(module)[attribute]


def _run(path: Path, name: str) -> ModuleType:
    source = path.read_bytes()
    key = blake2b(str(path).encode() + b"\0" + source, digest_size=8).hexdigest()
    module_name = f"fdfo_user_file_{key}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module  # dataclasses and pickling look it up
    sys.path.insert(0, str(path.parent))
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise RewardError(
            f"reward {name!r}: the file cannot be run: {type(error).__name__}: {error}{raised_at(error)}"
        ) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def raised_at(error: BaseException) -> str:
    """Where the user's part of the trace begins, as " (file.py:12)"; empty when it has none."""
    ours = (Path(__file__).parent, Path(torch.__file__).parent)
    for frame in extract_tb(error.__traceback__):
        if not any(folder in Path(frame.filename).parents for folder in ours):
            return f" ({Path(frame.filename).name}:{frame.lineno})"
    return ""
