"""Running out of memory as one message, for commands that do not try again with less."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fdfo.errors import FdfoError, first_line


@contextmanager
def memory_explained() -> Iterator[None]:
    """Raise FdfoError with the first line of what ran out of memory inside; a score names the batch size to try."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise FdfoError(first_line(error)) from error
