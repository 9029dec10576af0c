"""DiffusionNFT: negative-aware fine-tuning on the forward process (arXiv:2509.16117).

Images of the old policy are re-noised at fresh times; the velocity is matched to the good ones, and its mirror image in
the old policy to the bad ones. No likelihood, any solver. Departures from the paper and its published settings:

1. The solver of the published setting is a second-order one of DPM-Solver's kind; here any of flow/solve.py.
2. The items of an epoch are dealt to its updates per image and stratified over time, so that the partition does not
   depend on the number of processes (training/batching.py).
"""

from collections.abc import Sequence
from typing import ClassVar

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import velocity_to_clean
from fdfo.interfaces import Policy, Reward
from fdfo.methods.matching import ComparedItems, MatchingItems, MatchingRollout, matching_items, sample_and_renoise
from fdfo.methods.settings.nft import NftConfig
from fdfo.methods.terms import penalties
from fdfo.objectives.contrast import negative_aware
from fdfo.objectives.difference import mean_square
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores

OLD = "old"
"""Name of the averaged weights that sample."""


class NFT:
    """The method of the paper."""

    Config: ClassVar[type[NftConfig]] = NftConfig

    def __init__(self, config: NftConfig):
        self.config = config
        self.needs_scores = True
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size, self.trained_times = config.group_size, config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = config.penalty_forwards
        self.row_latents, self.row_velocities = 2, 0
        self.averages, self.memory = {OLD: self._decay}, None
        self.metrics = ("velocity_change", "velocity_rms", *config.penalty_metrics)

    def _decay(self, epoch: int) -> float:
        return min(self.config.old_decay_rate * epoch, self.config.old_decay_limit)

    def sampling_evaluations(self, num_prompts: int) -> float:
        """All steps of each image, and the old policy at its fresh times."""
        return self.config.sampling_evaluations(num_prompts, is_compared=True)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> MatchingRollout:
        """Sample a group per prompt from the old policy, and re-noise it."""
        return sample_and_renoise(policy, prompts, noise, self.config, OLD)

    def credit(self, rollout: Rollout, scores: Scores) -> MatchingItems:
        """One row per fresh time of the groups in which every score is valid."""
        assert isinstance(rollout, MatchingRollout)
        return matching_items(rollout, scores, self.config)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Contrast of the implicit policies, at the scale of the advantages, plus the distance to the base."""
        assert isinstance(items, ComparedItems)
        config, cond, x = self.config, items.cond, items.x
        v = policy.velocity(x, items.t, cond)
        clean, clean_old = velocity_to_clean(x, v, items.t), velocity_to_clean(x, items.v_old, items.t)
        optimality = items.advantage / (2 * config.advantage_clip) + 0.5
        losses = config.advantage_clip * negative_aware(clean, clean_old, items.x0, optimality, config.beta)
        penalty, metrics = penalties(config, policy, v, x, items.t, cond)
        metrics["velocity_change"] = mean_square(v.detach() - items.v_old).sqrt()
        metrics["velocity_rms"] = mean_square(v.detach()).sqrt()
        return LossOutput(losses=losses + penalty, metrics=metrics)
