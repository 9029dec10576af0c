"""What the studio does beside reading: stop a run, mark a checkpoint as kept, export it, draw with it.

Export and drawing are commands of fdfo in processes of their own, with a low priority, one at a time for each run;
drawing takes what memory the run leaves.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fdfo.evaluation.dataset import METADATA
from fdfo.evaluation.report.record import read_run
from fdfo.evaluation.report.setup import export_format
from fdfo.evaluation.runs import CHECKPOINTS, EPOCH, KEPT
from fdfo.locks import holder_of, is_held
from fdfo.own import numbered, sound_lines
from fdfo.web.guard import Refusal

LAST_LINES = 6
"""Of what a command said, where it failed."""


class Drawing(BaseModel):
    """What is wished for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    checkpoint: str
    prompt: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    strengths: Annotated[list[Annotated[float, Field(ge=0, le=1.5)]], Field(min_length=1, max_length=8)] = [0.5, 1, 1.5]


class OfCheckpoint(BaseModel):
    """A wish that names a checkpoint only."""

    model_config = ConfigDict(extra="forbid", strict=True)

    checkpoint: str


@dataclass
class Job:
    """A command that was started."""

    kind: Literal["export", "draw"]
    title: str
    process: subprocess.Popen[bytes]
    output: Path
    log: Path
    captions: tuple[str, ...] = ()
    """Of the pictures that it draws, in their order."""

    @property
    def pictures(self) -> list[Path]:
        """Files of what was drawn, one for each caption; none where some are gone."""
        files = sound_lines(self.output / METADATA, lambda row: self.output / row["file_name"])
        return files if len(files) == len(self.captions) and all(file.is_file() for file in files) else []

    @property
    def state(self) -> Literal["working", "done", "failed"]:
        code = self.process.poll()
        return "working" if code is None else "failed" if code else "done"

    @property
    def said(self) -> str:
        """Its last lines."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        return "\n".join(text.strip().splitlines()[-LAST_LINES:])


class Actions:
    """Of all runs; what they write beside run folders goes below `folder`."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.jobs: dict[tuple[Path, str], Job] = {}
        """The latest of each run and kind."""
        self._count = 0

    def stop(self, run: Path) -> None:
        """As Ctrl-C there: the work at hand is finished and saved. Raises Refusal where it does not run here."""
        holder = holder_of(run)
        if holder is None or (holder.is_here and not is_held(run)):
            raise Refusal(409, "this run is not running")
        if not holder.is_here or sys.platform == "win32":  # which would end it at once, unsaved
            raise Refusal(409, f"this run is on {holder.host}; press Ctrl-C there")
        try:
            os.kill(holder.process, signal.SIGINT)
        except OSError as error:
            raise Refusal(409, f"the run cannot be stopped from here: {error.strerror}") from error

    def keep(self, run: Path, checkpoint: str) -> None:
        """Mark a checkpoint: it stays when older ones are removed. Raises Refusal, or OSError."""
        path = _checkpoint(run, checkpoint)
        path.with_name(path.name + KEPT).touch()

    def export(self, run: Path, checkpoint: str) -> None:
        """Write a checkpoint for use elsewhere, below the run's folder `export`. Raises Refusal, or OSError."""
        name, output = _checkpoint(run, checkpoint).name, run / "export" / checkpoint
        form = export_format(read_run(run))
        command = ["export", str(run), "--to", form, "--checkpoint", name, "--output", str(output)]
        self._start(run, "export", name, command, output)

    def draw(self, run: Path, wish: Drawing) -> None:
        """Draw a prompt without and with a checkpoint, a picture for each strength. Raises Refusal, or OSError."""
        path = _checkpoint(run, wish.checkpoint)
        self._count += 1
        output = self._folder / f"drawn-{self._count}"
        strengths = [f"{one:g}" for one in dict.fromkeys(wish.strengths) if one > 0] or ["1"]
        options = ["--adapter", str(path), "--strength", ",".join(strengths), "--seed", str(wish.seed), "--seeds", "1"]
        command = ["generate", "--run", str(run), *options, "--output", str(output), "--", wish.prompt]
        captions = ("before training", *(f"strength {one}" for one in strengths))
        self._start(run, "draw", f"{wish.prompt} ({path.name}, seed {wish.seed})", command, output, captions)

    def _start(
        self,
        run: Path,
        kind: Literal["export", "draw"],
        title: str,
        command: Sequence[str],
        output: Path,
        captions: tuple[str, ...] = (),
    ) -> None:
        known = self.jobs.get((run, kind))
        if known is not None and known.state == "working":
            raise Refusal(409, "the one before is not done yet; wait for it")
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{kind}-{os.urandom(6).hex()}.log"
        modest = [nice, "-n", "10"] if (nice := shutil.which("nice")) else []
        with open(log, "wb") as said:
            process = subprocess.Popen(
                [*modest, sys.executable, "-m", "fdfo", *command],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.jobs[run, kind] = Job(kind, title, process, output, log, captions)

    def end(self) -> None:
        """The studio ends: so does what it started."""
        for job in self.jobs.values():
            if job.state == "working":
                job.process.terminate()
                job.process.wait()


def _checkpoint(run: Path, name: str) -> Path:
    """Raises Refusal where the run has none of this name."""
    there = {path.name: path for path in numbered(run / CHECKPOINTS, EPOCH).values()}
    if name not in there:
        raise Refusal(404, "this checkpoint is not there any more; reload the page")
    return there[name]
