"""DRaFT: direct reward fine-tuning (arXiv:2309.17400), on flows.

Follow the score's own gradient through the last K steps of sampling. K = 1 is DRaFT-1; K = T is the full chain, the
ablation of FDFO in which the score's gradient is propagated and not copied; `copies` is DRaFT-LV. Departures:

1. The steps are those of the flow's ODE.
2. The trajectory is sampled to its end and scored once without gradient: the reported score is that of real samples,
   and images whose score fails are dropped. It costs K more forward evaluations of T.
3. With `copies` the sampled image is trained on through its re-noised copies only, whose losses are averaged.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fdfo.config.bounds import Images, Steps
from fdfo.config.section import Section
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import Scalar, interpolate
from fdfo.flow.solve import evaluations, integrate
from fdfo.interfaces import Policy, Reward
from fdfo.methods.recorder import Recorder
from fdfo.methods.rows import numbers_of
from fdfo.methods.states import StateItems, StateRollout, state_items
from fdfo.methods.terms import scores_of
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class DraftConfig(Section):
    """Defaults are the published setting, DRaFT-1."""

    name: Literal["draft"] = "draft"
    steps: Steps = 50
    """Sampling steps T (DRaFT: 50)."""
    solver: Literal["euler", "heun"] = "euler"
    """Solver of the steps; a multistep solver would forget its past where the gradient starts."""
    last_steps: Steps | Literal["all"] = 1
    """Last steps K that the gradient passes through; all: the full chain."""
    copies: Images | None = None
    """DRaFT-LV: re-noise each image this many times to the start of the last step (DRaFT: 2); null: DRaFT-K."""
    checkpointing: bool = True
    """Keep only the states between the differentiated steps and recompute the rest, for K > 1: the memory of one step,
    one more forward evaluation for each."""

    @model_validator(mode="after")
    def _fits(self) -> "DraftConfig":
        if self.last_steps != "all" and self.last_steps > self.steps:
            raise ValueError(f"last_steps={self.last_steps} exceeds steps={self.steps}; use 'all' or fewer")
        if self.copies is not None and self.last_steps != 1:
            raise ValueError("copies (DRaFT-LV) re-noises to the last step alone; use last_steps=1")
        return self


class DRaFT:
    """DRaFT-K, DRaFT-LV and the full chain."""

    Config: ClassVar[type[DraftConfig]] = DraftConfig

    def __init__(self, config: DraftConfig):
        self.config = config
        self.last_steps = config.steps if config.last_steps == "all" else config.last_steps
        self.is_chain = config.checkpointing and self.last_steps > 1
        self.needs_score_gradient, self.differentiates_reward = False, True
        self.group_size = 1
        self.trained_times = config.copies or 1
        self.row_evaluations = evaluations(self.last_steps, config.solver)
        self.kept_evaluations = 1 if self.is_chain else self.row_evaluations
        self.row_latents, self.row_velocities = 1, 0
        self.averages, self.memory = {}, None
        self.metrics = ("trained_score",)

    def sampling_evaluations(self, num_prompts: int) -> int:
        """All steps of one trajectory per prompt."""
        return num_prompts * evaluations(self.config.steps, self.config.solver)

    @torch.no_grad()
    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> StateRollout:
        """Sample one trajectory per prompt and keep the state before its last K steps, or re-noised copies."""
        samples = numbers_of(prompts, self.group_size)
        grid = policy.grid(self.config.steps)
        first = self.config.steps - self.last_steps
        record = Recorder(torch.full((len(samples), 1), first), ("x",))
        cond = policy.encode([prompt.text for prompt in prompts])
        start = noise.normal(policy.latent_shape, "start", samples).to(policy.device)
        x0 = integrate(
            lambda x, t: policy.velocity(x, t, cond),
            start,
            grid.tolist(),
            self.config.solver,
            lambda i, t, x: record.visit(i, x=x),
        )
        if self.config.copies is None:
            x = record.store("x")
        else:
            draws = [noise.normal(policy.latent_shape, "renoise", samples, i) for i in range(self.config.copies)]
            x = torch.stack([interpolate(x0, eps.to(x0), float(grid[first])) for eps in draws], 1)
        return StateRollout(
            prompts=prompts,
            conditioning=cond,
            group_size=self.group_size,
            x0=x0,
            t=grid[first].expand(x.shape[:2]),
            x=x,
        )

    def credit(self, rollout: Rollout, scores: Scores) -> StateItems:
        """One row per sample with a valid score, or per copy of it."""
        assert isinstance(rollout, StateRollout)
        return state_items(rollout, scores)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Minus the score of the image at the end of the last K steps."""
        assert isinstance(items, StateItems)
        cond = items.cond
        tail = policy.grid(self.config.steps)[-self.last_steps - 1 :].tolist()

        def velocity(x: Tensor, t: Scalar) -> Tensor:
            if not self.is_chain:
                return policy.velocity(x, t, cond)
            # Reentrant: its first pass is without gradient, and so counted as the forward evaluation that it is.
            v = checkpoint(lambda x: policy.velocity(x, t, cond), x, use_reentrant=True, preserve_rng_state=False)
            assert isinstance(v, Tensor)
            return v

        # A reentrant checkpoint passes gradient on only where its input has some.
        x = items.x.detach().requires_grad_(self.is_chain)
        score = scores_of(policy, reward, integrate(velocity, x, tail, self.config.solver), items)
        return LossOutput(losses=-score.to(x), metrics={"trained_score": score.detach()})
