"""What operating systems call by different names."""

import os
import sys
from pathlib import Path


def peak_memory_gib() -> float:
    """The most memory that this process had so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**30
    import resource

    units_per_gib = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_gib


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use; all of them where that cannot be asked, as on macOS."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def flush_folder(folder: Path) -> None:
    """Flush every file and folder below a folder, and itself, to disk; Windows can flush files alone."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir() and sys.platform == "win32":
            continue
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # there, only what may be written
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
