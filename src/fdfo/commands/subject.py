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
        """The configuration of the run, if there is one."""
        from fdfo.evaluation.runs import load_run_config

        return load_run_config(self.run) if self.run else None

    def load(self, config: Config | None) -> "tuple[SD3Policy, bool]":
        """The policy, and whether it carries an adapter. Raises ModelError, CheckpointError or ConfigError."""
        import torch

        from fdfo.models.load import load_policy
        from fdfo.training.checkpoint import latest_checkpoint

        if config is None and self.model is None:
            raise ConfigError("the command line", ["give --run FOLDER or --model NAME"])
        settings = config.policy if config is not None else PolicyConfig(name=self.model or "shapes")
        adapter = self.adapter or (latest_checkpoint(self.run, "best") if self.run else None)
        policy = load_policy(
            self.model or settings.name,
            adapter=adapter,
            dtype=getattr(torch, settings.dtype),
            text_tokens=settings.text_tokens,
            resolution=settings.resolution if config is not None else None,
            guidance=self.guidance or settings.guidance,
            negative_prompt=settings.negative_prompt,
            revision=settings.revision,
            t5=settings.t5,
        )
        return policy, adapter is not None


def default_steps(steps: int | None, config: Config | None) -> int:
    """Given steps, else the run's, else 40 (the reference)."""
    return steps or (config.eval.steps if config is not None else 40)
