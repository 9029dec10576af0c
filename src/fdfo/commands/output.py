"""The file or folder that a command will write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import NoReturn

from fdfo.config.run_folder import owner_of
from fdfo.errors import ConfigError
from fdfo.locks import one_writer


def prepare_output(path: Path) -> None:
    """Make the folders above a file and try to write there, before the work. Raises ConfigError with the reason."""
    if path.is_dir():
        _refuse(path, "it is a folder", "file")
    _try(path, path.parent, "file")


def prepare_folder(path: Path) -> None:
    """Make a folder and try to write in it, before the work. Raises ConfigError with the reason."""
    _try(path, path, "folder")


@contextmanager
def held_folder(path: Path) -> Iterator[None]:
    """As `prepare_folder`, and no other process writes there as long as inside. Raises BusyError as well."""
    prepare_folder(path)
    with one_writer(path, "wait until it has ended, or give another --output folder"):
        yield


@contextmanager
def prepared_output(path: Path) -> Iterator[None]:
    """As `prepare_output`: a file is replaced at once, whoever else writes it."""
    prepare_output(path)
    yield


def _try(path: Path, folder: Path, kind: str) -> None:
    if run := owner_of(path):
        _refuse(path, f"it belongs to the run in {run}", kind)
    taken = next((place for place in (folder, *folder.parents) if place.is_file()), None)
    if taken is not None:
        _refuse(path, f"{taken} is a file, not a folder", kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _refuse(path, str(error.strerror), kind)


def _refuse(path: Path, reason: str, kind: str) -> NoReturn:
    raise ConfigError("the command line", [f"--output {path}: cannot be written ({reason}); give another {kind}"])
