"""What `generate` and `eval` are about: a model, an adapter on it, and the run they come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fdfo.config.tree import Config, PolicyConfig
from fdfo.errors import ConfigError

if TYPE_CHECKING:
    from fdfo.models.sd3 import SD3Policy


@dataclass(frozen=True)
class Subject:
    """The options that name a model; a run provides what is not given."""

    run: Path | None
    model: str | None
    adapter: Path | None
    guidance: float | None

    def config(self) -> Config | None:
        """The configuration of the run, if there is one. Raises ConfigError for options that cannot be used."""
        from fdfo.evaluation.runs import load_run_config

        problems = []
        if self.run is None and self.model is None:
            problems.append("give --run FOLDER or --model NAME")
        if self.guidance is not None and not self.guidance > 0:
            problems.append(f"--guidance {self.guidance:g}: must be positive; 1 is off")
        if problems:
            raise ConfigError("the command line", problems)
        return load_run_config(self.run) if self.run else None

    def load(self, config: Config | None) -> "tuple[SD3Policy, bool]":
        """The policy, and whether it carries an adapter; says which one, when that was chosen from a run.

        Raises ModelError or CheckpointError.
        """
        import torch

        from fdfo.models.load import load_policy
        from fdfo.training.checkpoint import chosen_checkpoint

        settings = config.policy if config is not None else PolicyConfig(name=self.model or "shapes")
        adapter = self.adapter
        if adapter is None and self.run is not None:
            adapter = chosen_checkpoint(self.run, "best")
            print(f"checkpoint {adapter.name} of {self.run}")
        policy = load_policy(
            self.model or settings.name,
            adapter=adapter,
            dtype=getattr(torch, settings.dtype),
            text_tokens=settings.text_tokens,
            resolution=settings.resolution,
            guidance=settings.guidance if self.guidance is None else self.guidance,
            negative_prompt=settings.negative_prompt,
            revision=settings.revision,
            t5=settings.t5,
        )
        return policy, adapter is not None


def default_steps(steps: int | None, config: Config | None) -> int:
    """Given steps, else the run's, else 40 (the reference)."""
    return steps or (config.eval.steps if config is not None else 40)
