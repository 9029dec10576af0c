"""DRaFT: direct reward fine-tuning (arXiv:2309.17400), on flows.

Follow the score's own gradient through the last K steps of sampling. K = 1 is DRaFT-1; K = T is the full chain, the
ablation of FDFO in which the score's gradient is propagated and not copied; a random K is randomised truncation
(AlignProp, arXiv:2310.03739); `copies` is DRaFT-LV. Departures:

1. The steps are those of the flow's ODE.
2. With `last_steps: random` every image has a K of its own, all from 1 to T equally often in an epoch.
3. With `copies` the sampled image is trained on through its re-noised copies only, whose losses are averaged.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fdfo.flow.kinds import evaluations
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import Scalar, interpolate
from fdfo.flow.solve import MeanVelocity
from fdfo.interfaces import Policy, Reward
from fdfo.methods.rows import numbers_of, rotated
from fdfo.methods.settings.draft import DraftConfig
from fdfo.methods.states import StateItems, StateRollout, sample_to, scored_loss, state_items
from fdfo.methods.terms import scores_of
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class DRaFT:
    """DRaFT-K, DRaFT-LV, randomised truncation and the full chain."""

    Config: ClassVar[type[DraftConfig]] = DraftConfig

    def __init__(self, config: DraftConfig):
        self.config, counts = config, config.truncations
        self.is_chain = config.checkpointing and counts[-1] > 1
        self.needs_scores = self.needs_score_gradient = False
        self.differentiates_reward = True
        self.group_size = 1
        self.trained_times = config.num_trained
        self.row_evaluations = sum(evaluations(count, config.solver) for count in counts) / len(counts)
        self.row_forwards = self.row_evaluations if self.is_chain else 0
        self.kept_evaluations = 1 if self.is_chain else evaluations(counts[-1], config.solver)
        self.row_latents, self.row_velocities = 1, 0
        self.averages, self.memory = {}, None
        self.metrics = ()

    def sampling_evaluations(self, num_prompts: int) -> float:
        """The steps before the last K of one trajectory per prompt; all of them for images that are re-noised."""
        steps, solver, counts = self.config.steps, self.config.solver, self.config.truncations
        if self.config.copies is not None:
            return num_prompts * evaluations(steps, solver)
        each = [evaluations(steps - count, solver, reaches_zero=False) for count in counts]
        return num_prompts * sum(each) / len(each)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> StateRollout:
        """Sample one trajectory per prompt as far as the state before its last K steps; or make re-noised copies."""
        config, samples = self.config, numbers_of(prompts, self.group_size)
        grid, counts = policy.grid(config.steps), config.truncations
        first = config.steps - counts.start - rotated(samples, noise, len(counts))  # [B]
        reach = first if config.copies is None else torch.full_like(first, config.steps)
        conditioning = policy.encode([prompt.text for prompt in prompts])
        x = sample_to(reach, policy, prompts, conditioning, noise, grid, config.solver)[:, None]
        if config.copies is not None:
            draws = [noise.normal(policy.latent_shape, "renoise", samples, i) for i in range(config.copies)]
            x = torch.stack([interpolate(x[:, 0], eps.to(x), float(grid[-2])) for eps in draws], 1)
        return StateRollout(
            prompts=prompts,
            conditioning=conditioning,
            group_size=self.group_size,
            x0=x[:, 0],
            step=first[:, None].expand(x.shape[:2]),
            t=grid[first, None].to(x, non_blocking=True).expand(x.shape[:2]),
            x=x,
        )

    def credit(self, rollout: Rollout, scores: Scores) -> StateItems:
        """One row per sample, or per copy of it."""
        assert isinstance(rollout, StateRollout)
        return state_items(rollout, scores)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Minus the score of the image at the end of the last K steps."""
        assert isinstance(items, StateItems)
        score = scores_of(policy, reward, self._images(policy, items), items)
        return LossOutput(losses=scored_loss(-score, score, items.x))

    def _images(self, policy: Policy, items: StateItems) -> Tensor:
        """Clean latents [n, C, H, W] at the end of every row's last steps, with gradient."""
        counts, steps = self.config.truncations, self.config.steps
        first = items.step.tolist() if len(counts) > 1 else [steps - counts.start] * len(items.t)
        order = sorted(range(len(first)), key=first.__getitem__)  # rows that have begun are always the first ones
        first.sort()
        waiting, cond = items.x[order].detach(), items.conditioning[items.prompt_row[order]]
        waiting.requires_grad_(self.is_chain)  # a reentrant checkpoint passes gradient on only where its input has some

        def velocity(x: Tensor, t: Scalar) -> Tensor:
            if not self.is_chain:
                return policy.velocity(x, t, cond[: len(x)])
            # Reentrant: its first pass is without gradient, and so counted as the forward evaluation that it is.
            v = checkpoint(
                lambda x: policy.velocity(x, t, cond[: len(x)]), x, use_reentrant=True, preserve_rng_state=False
            )
            assert isinstance(v, Tensor)
            return v

        x, mean_velocity = waiting[:0], MeanVelocity(velocity, self.config.solver)
        grid = policy.grid(steps).tolist()
        for i, (t, s) in enumerate(pairwise(grid)):
            begun = bisect_right(first, i)
            if begun:
                x = torch.cat([x, waiting[len(x) : begun]])
                x = x + (s - t) * mean_velocity(x, velocity(x, t), t, s)
        return x[torch.tensor(order).argsort().to(x.device)]
