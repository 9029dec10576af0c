"""What `generate` and `eval` are about: a model, an adapter on it, and the run they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fdfo.commands.terminal import say
from fdfo.config.tree import Config, PolicyConfig
from fdfo.errors import ConfigError
from fdfo.evaluation.summary import BASE

if TYPE_CHECKING:
    import torch

    from fdfo.interfaces import Policy


@dataclass(frozen=True)
class ModelChoice:
    """The options that name a model; a run provides what is not given."""

    run: Path | None
    model: str | None
    adapter: str | None
    guidance: float | None
    resolution: int | None
    """Pixels a side."""

    def config(self) -> Config | None:
        """The configuration of the run, if there is one.

        Raises ConfigError for options that cannot be used, ModelError for a model that cannot be found.
        """
        from fdfo.config.run_folder import load_run_config
        from fdfo.models.load import side_problem

        problems = []
        if self.run is None and self.model is None:
            problems.append("give --run FOLDER or --model NAME")
        if self.guidance is not None and not self.guidance > 0:
            problems.append(f"--guidance {self.guidance:g}: must be positive; 1 is off")
        if problems:
            raise ConfigError("the command line", problems)
        config = load_run_config(self.run) if self.run else None
        if self.resolution is not None and (problem := side_problem(self.settings(config), self.resolution)):
            raise ConfigError("the command line", [f"--resolution {problem}"])
        return config

    @property
    def has_adapter(self) -> bool:
        """Whether there are weights beside the base."""
        return self.adapter is not None or self.run is not None

    @cached_property
    def folder(self) -> Path | None:
        """The weights beside the base: the given adapter, fetched if it is on the hub, or the run's checkpoint.

        Raises ModelError or CheckpointError.
        """
        from fdfo.training.start import weights_place

        if self.adapter is not None:
            return weights_place(self.adapter)
        return self._checkpoint if self.run is not None else None

    def digest(self) -> str:
        """The digest of these weights. Raises ModelError or CheckpointError."""
        from fdfo.models.adapters import weights_digest

        assert self.folder is not None
        return weights_digest(self.folder)

    @property
    def place(self) -> str:
        """Where the weights beside the base are, as people know it: the run's checkpoint, or what was given."""
        found = str(self.folder)
        return found if self.adapter is None or Path(found).is_relative_to(self.adapter) else self.adapter

    def announce(self) -> None:
        """Say which checkpoint was chosen from a run. Raises CheckpointError."""
        if self.adapter is None and self.run is not None:
            say(f"checkpoint {self._checkpoint.name} of {self.run}")
            if (start := self.start) is not None:
                say(f"base is what the run started from, {start}; --adapter {start} --adapter {self.run} judges both")

    @cached_property
    def start(self) -> Path | None:
        """The weights that the run trained on from, if it did, which are the base of its checkpoint.

        Raises ModelError or CheckpointError.
        """
        from fdfo.config.run_folder import load_run_config
        from fdfo.training.start import start_of

        return start_of(load_run_config(self.run).policy) if self.run is not None and self.adapter is None else None

    @cached_property
    def _checkpoint(self) -> Path:
        """The run's checkpoint; looked for once, so that a warning comes once."""
        from fdfo.training.checkpoint import chosen_checkpoint

        assert self.run is not None
        return chosen_checkpoint(self.run, "best")

    def settings(self, config: Config | None) -> PolicyConfig:
        """The model's settings: the run's, with what was given instead."""
        settings = config.evaluated_policy if config is not None else PolicyConfig(name=self.model or "shapes")
        sides = None if self.resolution is None else (self.resolution, self.resolution)
        given = {"name": self.model, "guidance": self.guidance, "resolution": sides}
        return settings.model_copy(update={key: value for key, value in given.items() if value is not None})

    def load(self, config: Config | None, device: "torch.device | None" = None) -> "Policy":
        """The policy with its adapter. Raises ModelError or CheckpointError."""
        from fdfo.models.load import configured_policy

        return configured_policy(self.settings(config), adapter=self.folder, start=self.start, device=device)


def labelled(choices: Sequence[ModelChoice], alone: str) -> dict[str, ModelChoice]:
    """A name for each adapter: `alone` for one, the end of its path where that tells several apart."""
    if len(choices) == 1:
        return {alone: choices[0]}
    names = [Path(str(choice.adapter).replace(":", "/")).name for choice in choices]
    if len({*names, BASE}) <= len(names):
        names = [f"adapter-{i + 1}" for i in range(len(choices))]
    return dict(zip(names, choices, strict=True))


def default_steps(steps: int | None, config: Config | None) -> int:
    """Given steps, else the run's, else 40 (the reference)."""
    return steps or (config.eval.steps if config is not None else 40)
