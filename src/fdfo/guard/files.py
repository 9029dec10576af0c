"""Things of a user's own file: `path/to/file.py:name`."""

import os
import sys
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

from fdfo.errors import FdfoError, nearest
from fdfo.guard.contact import Guard


def is_file_name(name: str) -> bool:
    """Whether a name is that of a Python file, with or without the `:name` behind it."""
    return ".py:" in name or name.endswith(".py")


def file_of(name: str) -> Path:
    """The file that `path/to/file.py:name` is in, whether it exists or not."""
    return Path(os.path.expanduser(name.rpartition(":")[0] if ".py:" in name else name))


def find_in_file(name: str, what: str, error: type[FdfoError], advice: str) -> Any:
    """The function, class or object that `path/to/file.py:name` names; `what` it is, for messages, with its name.

    The file becomes a module of a name of its own; while it runs, its folder can be imported from. A file that has not
    changed is run once. Raises `error` for a missing file or name and for a file that cannot be run; `advice` is what
    to add to a file that defines nothing.
    """
    attribute = name.rpartition(":")[2] if ".py:" in name else ""
    path = file_of(name)
    if not path.is_file():
        raise error(f"{what}: no file {str(path.absolute())!r}; give its path as path/to/file.py:name")
    module = _run(path.resolve(), Guard(what, error))
    if attribute not in vars(module):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        hint = nearest(attribute, own) if own else f"it defines none; add {advice}"
        wanted = f"no {attribute!r} in the file" if attribute else "which function of the file? add it as file.py:name"
        raise error(f"{what}: {wanted}; {hint}")
    return vars(module)[attribute]


def _run(path: Path, guard: Guard) -> ModuleType:
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
        guard("while its file was run", lambda: exec(compile(source, str(path), "exec"), vars(module)))
    except BaseException:
        del sys.modules[module_name]
        raise
    finally:
        with suppress(ValueError):  # the file took it out itself
            sys.path.remove(str(path.parent))
    return module
