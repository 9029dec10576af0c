"""Shows the progress of a run: one live line in a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Sequence

from rich.console import Console as RichConsole
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fdfo.visible import can_redraw, visible

SILENCE_S = 30.0
"""Longest time between two lines outside a terminal, while work goes on."""

BAR_WIDTH = 8

LOGGER = logging.getLogger("fdfo")


class _Notices(logging.Handler):
    """What the library logs while a run goes on, such as a server that does not answer."""

    def __init__(self, console: "Console"):
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.say(record.getMessage(), style="yellow")


class Console:
    """Output of the main process; other processes are silent."""

    def __init__(self, is_main: bool, epochs: int):
        self.rich = RichConsole(
            quiet=not is_main, highlight=False, soft_wrap=True, force_terminal=can_redraw(sys.stdout)
        )
        self.epochs = epochs
        self.live: Live | None = None
        self.first = self.done = 0  # epochs finished when the run began or went on, and now
        self.started = self.finished = self.spoke = time.monotonic()  # the run, its latest epoch, the latest line
        self.title, self.doing, self.info = "", "", ""
        self.notices = _Notices(self)

    def say(self, text: str, style: str = "") -> None:
        """Print one line, without interpreting it as markup."""
        self.spoke = time.monotonic()
        self.rich.print(visible(text), style=style, markup=False, emoji=False)

    def say_items(self, head: str, items: Sequence[str]) -> None:
        """A line `head: item, item`; where a terminal is too narrow for it, broken between the items."""
        width = self.rich.width if self.rich.is_terminal else None
        self.say(_joined(f"{head}: ", items, width) if items else head)

    def __enter__(self) -> "Console":
        if not self.rich.quiet:
            LOGGER.addHandler(self.notices)
        return self

    def __exit__(self, *_: object) -> None:
        LOGGER.removeHandler(self.notices)
        self.stop()

    def start(self, epoch: int) -> None:
        """The run begins, or goes on after `epoch` epochs; an evaluation may come first."""
        self.first = self.done = epoch
        self.started = self.finished = time.monotonic()
        self.doing = self.title = f"after epoch {epoch}" if epoch else "before training"
        if self.rich.is_terminal:
            self.live = Live(get_renderable=self.line, console=self.rich, transient=True)
            self.live.start()

    def stop(self) -> None:
        """End the live line."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def begin(self, epoch: int) -> None:
        """An epoch (from 0) begins."""
        self.doing = self.title = f"epoch {epoch + 1}/{self.epochs}"

    def phase(self, name: str, done: int, total: int) -> None:
        """Show what is going on: in a terminal at once, elsewhere at most once in a while."""
        self.doing = f"{self.title} {name} {done}/{total}"
        if self.live is None and time.monotonic() - self.spoke > SILENCE_S:
            self.say(f"{self.title}  {name} {done}/{total}")

    def end(self, reward: float, images_per_s: float) -> None:
        """The epoch is finished."""
        self.done, self.finished = self.done + 1, time.monotonic()
        self.info = f"reward {reward:.4g}  {images_per_s:.3g} img/s"
        if self.live is None:
            self.say(f"{self.title}  {self.info}  {_clock(self.left_s(self.finished))} left")

    def left_s(self, now: float) -> float | None:
        """Seconds until the last epoch is finished, as long as those so far; None before the first is."""
        if self.done == self.first:
            return None
        each = (self.finished - self.started) / (self.done - self.first)
        return max(0.0, each * (self.epochs - self.done) - (now - self.finished))

    def line(self) -> Table:
        """The live line: the phase, then times, then what a narrow terminal may cut."""
        now = time.monotonic()
        left = self.left_s(now)
        times = f"{_clock(now - self.started)} elapsed" + ("" if left is None else f", {_clock(left)} left")
        text = Text(visible(f"{self.doing}  {times}  {self.info}"), no_wrap=True, overflow="ellipsis")
        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(total=self.epochs, completed=self.done, width=BAR_WIDTH), text)
        return grid


def _clock(seconds: float | None) -> str:
    """`m:ss`, from an hour on `h:mm:ss`."""
    minutes, rest = divmod(int(seconds or 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _joined(head: str, items: Sequence[str], width: int | None) -> str:
    """Head and items, in lines of `width` characters where no item is longer."""
    lines = [head]
    for item in items:
        between = "" if lines[-1] == head else " "
        room = float("inf") if width is None else width - len(lines[-1])
        if between and len(f"{between}{item},") > room:
            lines.append(f"  {item},")
        else:
            lines[-1] += f"{between}{item},"
    return "\n".join(lines).removesuffix(",")
