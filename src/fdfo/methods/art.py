"""DiffusionART (arXiv:2610.12572): regression on the covariance of scores and endpoints; FDFO's nearest kin.

Several deterministic samples of a prompt are scored; the velocity at every visited state of all of them is regressed
on one that moves the clean estimate along the covariance of score and endpoint. Written from a public description, not
from the paper's text. Departures from that description:

1. Two disjoint windows a rollout are `optim.updates_per_epoch: 2`: the items are dealt to the updates per trajectory
   and stratified over time, not by trajectory, so that the partition does not depend on the number of processes
   (training/batching.py).
2. The squared movement of a row is the KL divergence of its transition of the flow SDE of noise level 0.8 from the
   recorded one, averaged over elements; a row beyond the limit is kept when its step brings it back.
3. How far the clean estimate moves (`move`) is not in the description; the value is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.branches import BranchRollout, sample_branches
from fdfo.methods.rows import shared_fields, valid_samples
from fdfo.methods.settings.art import ArtConfig
from fdfo.methods.stepping import STEP_METRICS, step_losses
from fdfo.methods.terms import penalties
from fdfo.objectives.difference import covariance_vector
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


@dataclass(frozen=True, kw_only=True)
class ArtItems(Items):
    """Rows (sample, time): [B, K, ...] or [n, ...]."""

    t: Tensor  # [n]
    s: Tensor  # [n]
    x: Tensor  # [n, C, H, W]
    v_old: Tensor  # [n, C, H, W]
    vector: Tensor  # [n, C, H, W]


def win_shares(scores: Tensor, group_size: int) -> Tensor:
    """Share of the others of its group that each sample beats, half for equals: [B] -> [B]."""
    groups = scores.reshape(-1, group_size)
    ahead = groups[:, :, None] - groups[:, None, :]  # [P, K, K]
    wins = (ahead.sign() + 1) / 2
    return ((wins.sum(2) - 0.5) / (group_size - 1)).flatten()  # but itself


class ART:
    """The method of the description."""

    Config: ClassVar[type[ArtConfig]] = ArtConfig

    def __init__(self, config: ArtConfig):
        self.config, self.branches = config, config.branches
        self.needs_scores = True
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size, self.trained_times = config.group_size, config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = config.penalty_forwards
        self.row_latents, self.row_velocities = 0, 1
        self.averages, self.memory = {}, None
        self.metrics = STEP_METRICS + config.penalty_metrics

    def sampling_evaluations(self, num_prompts: int) -> float:
        """All steps of each image."""
        return self.branches.sampling_evaluations(num_prompts)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> BranchRollout:
        """Sample a group of deterministic trajectories per prompt and keep the trained states."""
        return sample_branches(policy, prompts, noise, self.branches)

    def credit(self, rollout: Rollout, scores: Scores) -> ArtItems:
        """One row per (sample, trained time) of the groups in which every score is valid."""
        assert isinstance(rollout, BranchRollout)
        valid = valid_samples(scores, self.group_size)
        keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
        total = scores.total[valid].to(rollout.x0.device)
        if self.config.scores == "wins":
            total = win_shares(total, self.group_size)
        vector = covariance_vector(rollout.x0[keep], total, self.group_size)
        return ArtItems(
            **shared_fields(rollout, valid, rollout.t.shape[1]),
            t=rollout.t[keep],
            s=rollout.s[keep],
            x=rollout.x[keep],
            v_old=rollout.v[keep],
            vector=vector[:, None].expand_as(rollout.x[keep]),
        )

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Weighted error from the moved velocity, without the rows that would leave their trust region."""
        assert isinstance(items, ArtItems)
        cond = items.cond
        v = policy.velocity(items.x, items.t, cond)
        losses, metrics = step_losses(
            self.config,
            policy,
            self.config.steps,
            v=v,
            v_old=items.v_old.to(items.vector),
            vector=items.vector,
            t=items.t,
            s=items.s,
        )
        penalty, more = penalties(self.config, policy, v, items.x, items.t, cond)
        return LossOutput(losses=losses + penalty, metrics=metrics | more)
