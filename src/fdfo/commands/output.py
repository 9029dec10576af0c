"""The file that a command will write."""

from pathlib import Path
from tempfile import TemporaryFile

from fdfo.errors import ConfigError


def prepare_output(path: Path) -> None:
    """Make the folders above a file and try to write there, before the work. Raises ConfigError with the reason."""
    taken = next((str(parent) for parent in path.parents if parent.is_file()), None)
    reason = f"{taken} is a file, not a folder" if taken else "it is a folder" if path.is_dir() else None
    try:
        if reason is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise ConfigError("the command line", [f"--output {path}: cannot be written ({reason}); give another file"])
