"""Progress of the stages: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from fdfo.visible import can_redraw

PLAIN_LINE_EVERY_S = 20.0


class Progress:
    """Shows named tasks one after another on standard error, or nothing when `quiet`."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet

    def say(self, text: str) -> None:
        """One line of text."""
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
        """Gives `advance(count=1, **shown)`; the keyword numbers are shown beside the bar."""
        console = Console(stderr=True, force_terminal=can_redraw(sys.stderr))
        if console.is_terminal and not self.quiet:
            columns = (
                TextColumn("{task.description:<12}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[shown]}"),
            )
            with Bars(*columns, console=console) as bars:
                row = bars.add_task(name, total=total, completed=done, shown="")
                yield lambda count=1, **shown: bars.update(row, advance=count, shown=_format(shown))
        else:
            yield self._plain(name, total, done)

    def _plain(self, name: str, total: int, done: int) -> Callable[..., None]:
        start = last = time.monotonic()

        def advance(count: int = 1, **shown: float) -> None:
            nonlocal done, last
            done += count
            now = time.monotonic()
            if done >= total or now - last >= PLAIN_LINE_EVERY_S:
                last = now
                self.say(f"{name} {done}/{total} {now - start:.0f} s {_format(shown)}".rstrip())

        return advance


def _format(shown: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in shown.items())
