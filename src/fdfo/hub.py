"""Loading from a folder or the hub: quietly, and with advice for what goes wrong."""

import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from fdfo.errors import first_line

HTTP_ERROR: Any = HfHubHTTPError.__bases__[0]
"""The error of huggingface_hub's HTTP client (httpx or httpx2), which it raises bare in the middle of a file."""

_CLIENT: Any = import_module(HTTP_ERROR.__module__.partition(".")[0])

LOADING_ERRORS: Any = (OSError, ValueError, HTTP_ERROR)
"""What loading from a folder or the hub raises."""


def hub_advice(error: BaseException, revision: str | None) -> str:
    """What a user can do about an error of huggingface_hub, or of a library that wraps one; never a traceback."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    not_reached = (
        "no such folder, not in the local cache, and the hub cannot be reached; "
        "check the connection, or download the model elsewhere and give its folder"
    )
    advice = {  # in this order: some are kinds of later ones
        GatedRepoError: "access is gated; accept its licence on its hub page, then run `hf auth login`",
        RepositoryNotFoundError: "no such folder or hub id; correct the name (a private one needs `hf auth login`)",
        RevisionNotFoundError: f"no revision {revision!r}; give a branch, tag or commit of its hub page",
        HFValidationError: "no such folder, and not a hub id; use a folder, or OWNER/NAME",
        (LocalEntryNotFoundError, OfflineModeIsEnabled, _CLIENT.ConnectError, _CLIENT.ConnectTimeout): not_reached,
        EntryNotFoundError: "the hub has the model, but not this file of it; give a model of the right kind",
        HfHubHTTPError: "the hub does not answer; try again later",
        HTTP_ERROR: "the hub stopped answering while loading; repeat the command to go on, or raise the seconds that "
        "HF_HUB_DOWNLOAD_TIMEOUT allows",
    }
    for cause in _causes(error):
        for kind, text in advice.items():
            if isinstance(cause, kind):
                return text
    return f"cannot be loaded: {first_line(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it: diffusers and transformers wrap what the hub raises."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@contextmanager
def reaching_hub(name: str) -> Iterator[None]:
    """What huggingface_hub does inside for a folder or hub id, without its log lines.

    Where the hub's name does not resolve, as with HF_HUB_OFFLINE=1: from the cache, or an error at once instead of
    half a minute of retries.
    """
    if Path(name).is_dir():
        yield
        return
    logger = logging.getLogger("huggingface_hub")
    before = logger.level, constants.HF_HUB_OFFLINE
    logger.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE or not _resolves()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[1]
        logger.setLevel(before[0])


def _resolves() -> bool:
    """Whether the hub has an address; a proxy would look it up itself."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Switch the loading bars and notices of diffusers and transformers off, and back to what they were.

    One of the notices is that torchvision is missing; nothing here needs it.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries: tuple[Any, ...] = (diffusers_logging, transformers_logging)
    before = [(library.is_progress_bar_enabled(), library.get_verbosity()) for library in libraries]
    for library, (_, verbosity) in zip(libraries, before, strict=True):
        library.disable_progress_bar()
        if verbosity != logging.ERROR:  # which empties the caches of all loggers there are
            library.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # Of diffusers to itself, until 1.0: Chroma and Bria are built with the first, PRX with the second; ERNIE
            # meets the third.
            warnings.filterwarnings("ignore", "`FluxPosEmbed` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "`LoraLoaderMixin` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
            yield
    finally:
        for library, (bar_was_on, verbosity) in zip(libraries, before, strict=True):
            if verbosity != logging.ERROR:
                library.set_verbosity(verbosity)
            if bar_was_on:
                library.enable_progress_bar()
