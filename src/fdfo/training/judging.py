"""Evaluation inside a run, with the same prompts and seeds every time, divided among the processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fdfo.drawing import generate
from fdfo.evaluation.diversity import Features
from fdfo.evaluation.features import diversity_features, load_features
from fdfo.evaluation.heldout import Evaluation, Judged, evaluation_of, judge_prompts
from fdfo.models.evaluated_model import EvaluatedModel, evaluated_model
from fdfo.records import Prompt
from fdfo.rewards.weighted import WeightedSum
from fdfo.rewards.when import Applied
from fdfo.training.batching import share
from fdfo.training.engine import Engine
from fdfo.training.fitting import components, fitting, preferences

SHOWN_PROMPTS = 24
"""Number of evaluation prompts whose pictures are kept."""


@dataclass(frozen=True)
class Jury:
    """Held-out prompts and the scores that are not trained on."""

    prompts: Sequence[Prompt]
    unseen: WeightedSum
    features: Features
    model: EvaluatedModel

    @property
    def shown(self) -> list[int]:
        """Numbers of the prompts whose pictures are kept, spread evenly."""
        count = len(self.prompts)
        return sorted({i * count // SHOWN_PROMPTS for i in range(SHOWN_PROMPTS)})

    def judge(self, engine: Engine, epoch: int, *, raw: bool = False) -> tuple[Evaluation, Tensor]:
        """The evaluation of the averaged weights, where there are any and not the `raw` ones are asked for, else of the
        trained ones; and the shown pictures [n, 3, H, W] uint8."""
        settings, team = engine.config.eval, engine.team
        images_per_prompt = settings.images_per_prompt

        def scores(images: Tensor, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
            texts, metadata = [prompt.text for prompt in prompts], [prompt.metadata for prompt in prompts]
            base = base_images(prompts).to(images.device) if engine.reward.held_out_pairwise and epoch > 0 else None

            def judge() -> dict[str, Tensor]:
                with torch.no_grad():
                    both = (engine.reward, self.unseen)
                    seen, unseen = (_held_out(engine, reward, images, texts, metadata) for reward in both)
                    if base is not None:  # images of the base take the place of the other branch
                        compare = partial(preferences, engine, images, base, texts, metadata)
                        seen |= fitting(engine, "score_batch", compare)
                total = {"reward": engine.reward.total(seen, engine.reward.applied(metadata))} if seen else {}
                return {**total, **seen, **unseen}

            return engine.begin(judge)()

        def base_images(prompts: Sequence[Prompt]) -> Tensor:
            """Images of the base for the same prompts and noise, for scores that compare two images."""
            parts = generate(
                self.model.policy,
                prompts[::images_per_prompt],
                steps=settings.steps,
                seed=settings.noise_seed,
                images_per_prompt=images_per_prompt,
                weights="base",
                batch=engine.sample_batch * engine.method.group_size,
                watch=engine.stop.check,
            )
            return torch.cat([part.images.cpu() for part in parts])

        at_once = engine.reward.takes_turns or self.unseen.takes_turns
        own = self.prompts[share(len(self.prompts), team.rank, team.size)]

        def watch(done: int) -> None:
            engine.stop.check()
            engine.console.phase("judge", done, len(own))

        def judge_own() -> Judged:
            return judge_prompts(
                self.model.policy,
                own,
                scores,
                steps=settings.steps,
                images_per_prompt=images_per_prompt,
                seed=settings.noise_seed,
                features=self.features,
                shown=frozenset(self.shown),
                weights=weights,
                batch=engine.sample_batch * engine.method.group_size,  # rows as in training: compiled once
                at_once=at_once,
                watch=watch,
            )

        judged = None
        with engine.team.together(), self.model.having("current" if raw or engine.ema is None else "ema") as weights:
            judged = fitting(engine, "sample_batch", judge_own)
        assert judged is not None
        for policy in (engine.policy, self.model.policy):
            policy.take_use()  # evaluation is not part of the cost of training
        together = Judged(
            scores={name: team.gather_rows(values) for name, values in judged.scores.items()},
            features=team.gather_rows(judged.features),
            signals={name: team.gather_rows(values) for name, values in judged.signals.items()},
            pictures=team.gather_rows(judged.pictures),
        )
        sampled = {"steps": settings.steps, "images_per_prompt": images_per_prompt}
        evaluation = evaluation_of(epoch, self.prompts, together, **sampled, applied=self._applied(engine))
        return evaluation, together.pictures

    def _applied(self, engine: Engine) -> Applied:
        """Which prompts [P] the scores with a `when` are asked about."""
        described = [prompt.metadata for prompt in self.prompts]
        return {**engine.reward.applied(described), **self.unseen.applied(described)}


def _held_out(engine: Engine, reward: WeightedSum, *described: Any) -> dict[str, Tensor]:
    """Scores [B] of images, prompts and metadata, by component; of those that are asked about held-out images."""
    return fitting(engine, "score_batch", partial(components, engine, reward, *described, only=reward.held_out))


def build_jury(engine: Engine, prompts: Sequence[Prompt]) -> Jury:
    """Load the unseen scores, what diversity needs and the model that is judged.

    Raises RewardError, ConfigError where diversity cannot be measured, or ModelError."""
    unseen = WeightedSum(engine.config.eval.rewards)
    with engine.team.together():
        unseen.load(engine.team.device, torch.float32)
    embedders = {**unseen.embedders, **engine.reward.embedders}
    features = diversity_features(engine.config.eval.diversity, embedders)
    with engine.team.together():
        load_features(features, engine.team.device)
    with engine.team.together():
        model = evaluated_model(engine.config, engine.policy)
    return Jury(prompts, unseen, features, model)
