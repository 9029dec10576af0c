"""What `fdfo eval` measures: prompts, scores, sampling, and the manifest that says whether two evaluations are one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdfo.commands.model_choice import ModelChoice
from fdfo.commands.score_list import score_list
from fdfo.config.checks import PAIRWISE_IS_FOR_TRAINING
from fdfo.config.load import reward_entries
from fdfo.config.run_folder import MAY_CHANGE
from fdfo.config.scores import placement_of
from fdfo.config.tree import Config, RewardConfig
from fdfo.errors import ConfigError
from fdfo.evaluation.summary import BASE
from fdfo.prompts import held_out_list, load_file_or_list
from fdfo.prompts.source import evenly_spread
from fdfo.records import Prompt
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.inputs import code_digests, model_digests, option_digests, prompts_digest, start_digests


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What is measured; None is what the run did."""

    prompts: str | None
    rewards: str | None
    count: int
    images: int
    steps: int | None
    seed: int
    diversity: str | None
    key: str | None = None
    """Column of the prompts, where `prompts` is a file with columns."""
    distance: str | None = None
    """Features of KID and FID to the base's images, which are kept for them; None: not measured."""
    offload: bool = False
    """Whether the scores' networks take turns on the device."""

    def scores(self, config: Config | None) -> tuple[list[RewardConfig], WeightedSum]:
        """Entries of `rewards`, or of a run, and their sum, which is not loaded. Raises ConfigError or RewardError."""
        if self.rewards is not None:
            entries = list(reward_entries(score_list(self.rewards), "--rewards"))
        elif config is not None:
            entries = [*config.reward, *config.eval.rewards]
        else:
            raise ConfigError("the command line", ["give --rewards NAME,NAME or --run FOLDER"])
        scores = WeightedSum(entries)
        if scores.pairwise:
            problems = [PAIRWISE_IS_FOR_TRAINING.format(name=repr(name)) for name in scores.pairwise]
            raise ConfigError("--rewards", problems)
        if self.offload:
            entries = [
                entry.model_copy(update={"offload": entry.offload or hasattr(type(reward), "networks")})
                for entry, reward in zip(entries, scores.rewards, strict=True)
            ]
            scores = WeightedSum(entries)
        return entries, scores

    def chosen_prompts(self, config: Config | None) -> list[Prompt]:
        """`count` of a file, a list, or a run's held-out prompts. Raises ConfigError or PromptError."""
        if self.prompts is not None:
            found = load_file_or_list(self.prompts, self.key)
        elif config is not None:
            found = held_out_list(config.prompts, config.eval.prompts)
        else:
            raise ConfigError("the command line", ["give --prompts FILE_OR_LIST or --run FOLDER"])
        return evenly_spread(found, self.count)


def manifest(
    task: EvaluationTask,
    prompts: Sequence[Prompt],
    entries: Sequence[RewardConfig],
    steps: int,
    variants: Mapping[str, ModelChoice],
    config: Config | None,
) -> dict[str, Any]:
    """What makes an evaluation the same: prompts, scores with the code of own ones, sampling, model and weights.

    Where a score is computed, and in which batches, does not matter. Raises ModelError or CheckpointError.
    """
    model = variants[BASE].settings(config)
    return {
        "prompts": {"sha256": prompts_digest(prompts), "count": len(prompts)},
        "images per prompt": task.images,
        "steps": steps,
        "seed": task.seed,
        "diversity": task.diversity,
        "scores": [entry.model_dump(mode="json", exclude=set(placement_of(entry.name))) for entry in entries],
        "code of scores": code_digests([entry.name for entry in entries]),
        "files of scores": option_digests(entries, {}),
        "model": model.model_dump(mode="json", exclude={"adapter", *MAY_CHANGE["policy"]}),
        "files of the model": model_digests(model.name, model.revision, {}),
        "weights": {label: choice.digest() for label, choice in variants.items() if label != BASE},
        **({} if config is None or variants[BASE].start is None else start_digests(config.policy)),
    }
