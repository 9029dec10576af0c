"""What is looked at before any command begins: the arguments, the working directory, the terminal."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

from fdfo.errors import ConfigError
from fdfo.visible import visible


def prepare_terminal() -> None:
    """Let every line be printed: what the terminal's encoding lacks, and what would act on it, as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.excepthook = _print_traceback
    if logging.lastResort is not None:  # of notices outside a run
        logging.lastResort.setFormatter(_Visible())


def check_surroundings(arguments: Sequence[str]) -> None:
    """Raise ConfigError for arguments that are no text, or a working directory that is gone."""
    problems = []
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            problems.append(f"{argument}: {_unreadable(argument)}")
    try:
        os.getcwd()
    except OSError:
        problems.append("the working directory was deleted; change to one that is there (cd)")
    if problems:
        raise ConfigError("the command line", problems)


def _unreadable(argument: str) -> str:
    try:
        os.fsencode(argument).decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8; rename the file or folder, or convert the text"
    return f"this locale reads {sys.getfilesystemencoding()} only; set PYTHONUTF8=1, or LANG to one of UTF-8"


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(visible("".join(traceback.format_exception(kind, error, trace))))
