"""The run folders below some folders, by names that addresses can hold."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fdfo.config.run_folder import CONFIG, METRICS
from fdfo.studio.progress import stamp

DEPTH = 4
"""Of folders below the given ones."""
MOST_RUNS = 2000


class Library:
    """Runs by key: their path below the given folder, with that folder's name before it where several are given."""

    def __init__(self, roots: Sequence[Path]):
        self.roots = list(roots)

    def runs(self) -> dict[str, Path]:
        """All there are now, the one that was written last first."""
        found: dict[str, Path] = {}
        for root in self.roots:
            for folder in _below(root, DEPTH):
                key = _key(root, folder, len(self.roots) > 1)
                while key in found:
                    key += "'"
                found[key] = folder
                if len(found) >= MOST_RUNS:
                    break
        return dict(sorted(found.items(), key=lambda one: _written(one[1]), reverse=True))

    def version(self) -> str:
        """Another text after every change that a list of runs should show."""
        return repr([(key, written_of(folder)) for key, folder in self.runs().items()])


def written_of(folder: Path) -> list[tuple[int, int] | None]:
    """Another value after every event, evaluation and checkpoint of a run, and when it starts or ends."""
    names = (METRICS, CONFIG, "evaluations", "samples", "checkpoints", ".lock", "choices.jsonl")
    return [stamp(folder / name) for name in names]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Run folders: those with a configuration and events. Nothing below a run is looked at, nor what is hidden."""
    try:
        if (folder / CONFIG).is_file() and (folder / METRICS).is_file():
            yield folder
            return
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return
    for path in inside if depth else ():
        if not path.is_symlink():
            yield from _below(path, depth - 1)


def _key(root: Path, folder: Path, several: bool) -> str:
    relative = folder.relative_to(root).as_posix()
    name = root.resolve().name
    if relative == ".":
        return name or "run"
    return f"{name}/{relative}" if several else relative


def _written(folder: Path) -> int:
    try:
        return os.stat(folder / METRICS).st_mtime_ns
    except OSError:
        return 0
