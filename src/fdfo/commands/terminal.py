"""What commands print: every line of theirs goes through here."""

import os
import sys

from fdfo.visible import visible


def say(text: str = "", *, end: str = "\n", flush: bool = False) -> None:
    """Print a line on standard output."""
    print(visible(text), end=end, flush=flush)


def tell(message: str) -> None:
    """Print an error. Where several processes of a job end for the same reason, the first of them tells it."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from fdfo.training.distributed import is_first_to_tell

        if not is_first_to_tell():
            return
    print(f"error: {visible(message)}", file=sys.stderr)
