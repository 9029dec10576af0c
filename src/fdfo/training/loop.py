"""A run from Python: to its end at once, or event by event."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

from fdfo.config.tree import Config
from fdfo.errors import ConfigError
from fdfo.interfaces import Policy
from fdfo.rewards.endpoint import giving_up_when
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.distributed import this_team
from fdfo.training.events import Event
from fdfo.training.inputs import inputs_of
from fdfo.training.interrupt import stop_on_signals
from fdfo.training.run import Run
from fdfo.training.setup import check, check_scored, held_out_prompts, run_folder, training_prompts


def train(
    config: Config, run_dir: str | Path | None = None, *, changed_inputs: bool = False, waits: bool = False
) -> Path:
    """Train as configured and return the run folder; repeating the call with the same folder continues the run.

    run_dir defaults to a new numbered folder below `runs/`. Where another process writes in it, this one is refused,
    or waits until that has ended. With changed_inputs a run goes on although its prompts, code or other files are not
    what it began with, which is refused otherwise. Under torchrun or accelerate launch every process calls this.
    Raises FdfoError subclasses for everything a user can mend, and Interrupted after a signal, once the state is saved.
    """
    with begun(config, run_dir, changed_inputs=changed_inputs, waits=waits) as run:
        run.go()
    return run.folder.path


@contextmanager
def begun(
    config: Config, run_dir: str | Path | None, *, changed_inputs: bool = False, waits: bool = False
) -> Iterator[Run]:
    """A run that is ready to go, in a folder that is kept from other writers until this is left; as `train`."""
    check(config)
    trackers: list[Any] = list(config.log.trackers)
    timeout_s = config.train.collective_timeout_s
    team = this_team(timeout_s, **({"log_with": trackers, "project_dir": run_dir or "runs"} if trackers else {}))
    with stop_on_signals() as stop, giving_up_when(lambda: stop.signal_number is not None):
        source, held_out = training_prompts(config, team), held_out_prompts(config, team)
        check_scored(config, source.prompts, held_out)
        with run_folder(config, run_dir, team, stop.check if waits else None) as folder:
            line = None
            with team.together():
                if team.is_main:
                    inputs = partial(inputs_of, config, source.prompts, held_out)
                    line = folder.keep_inputs(inputs, changed_inputs)
            run = Run(config, folder, source, held_out, team, stop)
            if line is not None:
                run.console.say(line, style="yellow")
            with run.console:
                try:
                    yield run
                finally:
                    run.engine.reward.asked.leave()


class Trainer:
    """A run as a loop of yours: `for event in fdfo.Trainer(config): ...`.

    Each `for` begins the run or continues it from its folder, as `train` does, and gives `Trained`, `Evaluated` and
    `Saved` as they happen. Leaving the loop saves the state; another loop, or `train` with the same folder, goes on.
    """

    def __init__(
        self,
        config: Config,
        run_dir: str | Path | None = None,
        *,
        changed_inputs: bool = False,
        waits: bool = False,
    ):
        """Arguments as those of `train`; nothing is loaded yet."""
        self.config = config
        self.folder = None if run_dir is None else Path(run_dir)
        """The run folder; where none was given, known once the run began."""
        self._options = {"changed_inputs": changed_inputs, "waits": waits}
        self._run: Run | None = None
        self._going: Callable[[], Generator[Event, None, None] | None] = lambda: None
        """The events under way, held by the loop alone: leaving it closes them."""

    def __iter__(self) -> Iterator[Event]:
        """The events from here to the end of the run; a loop before this one is closed. Raises as `train`."""
        self.close()
        going = self._events()
        self._going = ref(going)
        return going

    def close(self) -> None:
        """Save the state where a loop was left by an exception, and let others write in the folder."""
        if going := self._going():
            going.close()

    @property
    def policy(self) -> Policy:
        """The model in training; `policy.sample(prompts)` draws with the weights of now."""
        return self._begun.engine.policy

    @property
    def reward(self) -> WeightedSum:
        """The score that is trained on: `reward(images, prompts)`."""
        return self._begun.engine.reward

    def _events(self) -> Generator[Event, None, None]:
        with begun(self.config, self.folder, **self._options) as self._run:
            self.folder = self._run.folder.path
            yield from self._run.events()

    @property
    def _begun(self) -> Run:
        if self._run is None:
            raise ConfigError("fdfo.Trainer", ["nothing is loaded before the loop begins; ask inside it"])
        return self._run
