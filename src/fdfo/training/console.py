"""What a person sees while a run goes on: a progress bar in a terminal, plain lines elsewhere."""

import logging
import time
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SILENCE_S = 30.0
"""Outside a terminal, longest time without a line while work goes on."""


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
        self.rich = RichConsole(quiet=not is_main, highlight=False, soft_wrap=True)
        self.epochs = epochs
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.epoch = 0
        self.started: tuple[float, int] | None = None  # (time, epoch) of the first epoch seen
        self.spoke = time.monotonic()
        self.notices = _Notices(self)

    def say(self, text: str, style: str = "") -> None:
        """One line for the person; never interpreted as markup."""
        self.spoke = time.monotonic()
        self.rich.print(text, style=style, markup=False)

    def __enter__(self) -> "Console":
        if not self.rich.quiet:
            LOGGER.addHandler(self.notices)
        if self.rich.is_terminal:
            columns: list[Any] = [
                TextColumn("{task.description}"),
                BarColumn(bar_width=10),
                TextColumn("{task.fields[info]}"),
            ]
            self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.rich)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        LOGGER.removeHandler(self.notices)
        if self.bar is not None:
            self.bar.stop()

    def begin(self, epoch: int) -> None:
        """An epoch (from 0) begins; before the first, the evaluation before training."""
        self.epoch = epoch
        if self.started is None:
            self.started = (time.monotonic(), epoch)
        if self.bar is not None and self.task is None:
            self.task = self.bar.add_task("", total=self.epochs, completed=epoch, info="")

    def phase(self, name: str, done: int, total: int) -> None:
        """Show what is going on: in a terminal at once, elsewhere at most once in a while."""
        if self.bar is not None and self.task is not None:
            text = f"epoch {self.epoch + 1}/{self.epochs} {name} {done}/{total}"
            self.bar.update(self.task, description=f"{text:<30}")
        elif self.bar is None and time.monotonic() - self.spoke > SILENCE_S:
            self.say(f"epoch {self.epoch + 1}/{self.epochs}  {name} {done}/{total}")

    def end(self, reward: float, images_per_s: float) -> None:
        """The epoch is finished."""
        info = f"reward {reward:.4g}  {images_per_s:.3g} img/s"
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.epoch + 1, info=info)
            return
        assert self.started is not None
        seconds = (time.monotonic() - self.started[0]) / (self.epoch + 1 - self.started[1])
        left = seconds * (self.epochs - self.epoch - 1)
        self.say(f"epoch {self.epoch + 1}/{self.epochs}  {info}  {left // 60:.0f}:{left % 60:02.0f} left")
