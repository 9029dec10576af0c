"""What a person sees while a run goes on: a progress bar in a terminal, plain lines elsewhere."""

import time
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Console:
    """Output of the main process; other processes are silent."""

    def __init__(self, is_main: bool, epochs: int):
        self.rich = RichConsole(quiet=not is_main, highlight=False, soft_wrap=True)
        self.epochs = epochs
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.started: tuple[float, int] | None = None  # (time, epoch) of the first epoch seen

    def say(self, text: str, style: str = "") -> None:
        """One line for the person; never interpreted as markup."""
        self.rich.print(text, style=style, markup=False)

    def __enter__(self) -> "Console":
        if self.rich.is_terminal:
            columns: list[Any] = [
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                TextColumn("{task.fields[info]}"),
            ]
            self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.rich)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begin(self, epoch: int) -> None:
        """An epoch (from 0) begins."""
        if self.started is None:
            self.started = (time.monotonic(), epoch)
        if self.bar is not None and self.task is None:
            self.task = self.bar.add_task("epoch", total=self.epochs, completed=epoch, info="")

    def phase(self, epoch: int, name: str) -> None:
        """Show what is going on."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, description=f"epoch {epoch + 1}/{self.epochs} {name:<6}")

    def end(self, epoch: int, reward: float, images_per_s: float) -> None:
        """An epoch (from 0) is finished."""
        info = f"reward {reward:.4g}  {images_per_s:.3g} images/s"
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=epoch + 1, info=info)
            return
        assert self.started is not None
        seconds = (time.monotonic() - self.started[0]) / (epoch + 1 - self.started[1])
        left = seconds * (self.epochs - epoch - 1)
        self.say(f"epoch {epoch + 1}/{self.epochs}  {info}  {left // 60:.0f}:{left % 60:02.0f} left")
