"""The one message with which a command ends."""

import os
import sys


def tell(message: str) -> None:
    """Print an error. Where several processes of a job end for the same reason, the first of them tells it."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from fdfo.training.distributed import is_first_to_tell

        if not is_first_to_tell():
            return
    print(f"error: {message}", file=sys.stderr)
