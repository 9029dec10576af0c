"""`fdfo choices fit`: a score learned from what people chose."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from fdfo.commands.choices import choices_of
from fdfo.commands.memory import memory_explained
from fdfo.commands.output import held_folder
from fdfo.commands.score import chosen_device
from fdfo.commands.terminal import say
from fdfo.config.load import reward_entries
from fdfo.config.tree import RewardConfig
from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.statistics import Interval, bootstrap
from fdfo.rewards.davidson import Comparisons, agreement, best_ridge, chances, fit, held_out_gaps
from fdfo.rewards.embedding import Embedding
from fdfo.rewards.learned import About, save
from fdfo.rewards.tasting import Chosen, Differences, chosen_in, ready_gaps
from fdfo.rewards.weighted import WeightedSum
from fdfo.words import plural

LEAST = 10
"""Prompts with a choice of a side, below which held-out accuracy says nothing."""
TITLE = "learned"


def run_fit(
    runs: Sequence[Path], features: str, model: str | None, against: str | None, output: Path, device_name: str | None
) -> None:
    """Fit, print the accuracy, and write the folder.

    Raises CheckpointError for too few choices, RewardError or ConfigError for features and scores that cannot be used.
    """
    for run in runs:
        choices_of(run)
    embedding, ready = Embedding(features, model), WeightedSum(_entries(against))
    chosen, device = chosen_in(runs), chosen_device(device_name)
    _refuse_few(chosen)
    with held_folder(output):
        with memory_explained():
            embedding.load(device, torch.float32)
            ready.load(device, torch.float32)
            given = Differences(embedding).of(chosen)
            gaps = {TITLE: held_out_gaps(given)}
            if embedding.reads_prompts:
                gaps[features] = given.difference[:, -1]
            gaps |= ready_gaps(chosen, ready)
        _tell(chosen, given)
        accuracy = {name: bootstrap(agreement(values, given)) for name, values in gaps.items()}
        _tell_accuracy(accuracy, given)
        ridge = best_ridge(given)
        head = fit(given, ridge)
        about = About(
            features=features,
            model=model,
            log_tie=head.log_tie,
            ridge=ridge,
            choices=len(given),
            prompts=len(np.unique(given.prompt)),
            accuracy={name: (one.mean, one.low, one.high) for name, one in accuracy.items()},
        )
        save(output, head, about)
        tie = chances(np.zeros(1), head.log_tie)[0, 1]
        say(f"strength of the prior {ridge:g}, by cross-validation over prompts; equal pictures tie with {tie:.0%}")
        say(f"wrote {output}; train on it with 'reward=[{{name: learned, path: {output}}}]'")


def _entries(against: str | None) -> Sequence[RewardConfig]:
    """The ready scores that `against` names. Raises ConfigError."""
    names = [] if against is None else [name.strip() for name in against.split(",")]
    if "human" in names:
        raise ConfigError("--against", ["'human' asks people; name scores that are computed"])
    return reward_entries(names, "--against") if names else ()


def _refuse_few(chosen: Chosen) -> None:
    count = chosen.sided_prompts
    if count < LEAST:
        few = f"a side was chosen for {plural(count, 'prompt')}, too few to learn from and to judge by"
        raise CheckpointError(f"{few}; choose for at least {LEAST}")


def _tell(chosen: Chosen, given: Comparisons) -> None:
    ties = int((given.chosen == 0).sum())
    choices, prompts = plural(len(given), "choice"), plural(len(np.unique(given.prompt)), "prompt")
    say(f"{choices} for {prompts}: {len(given) - ties} of a side, {plural(ties, 'tie')}")
    for count, what in ((chosen.skipped, "skipped"), (chosen.missing, "without pictures")):
        if count:
            say(f"  {count} {what}: left out")


def _tell_accuracy(accuracy: Mapping[str, Interval], given: Comparisons) -> None:
    sided = int((given.chosen != 0).sum())
    say(f"right on the {plural(sided, 'choice')} of a side, mean over prompts with its 95 % interval:")
    width = max(map(len, accuracy))
    for name, one in accuracy.items():
        unseen = "  each by a fit without its prompt" if name == TITLE else ""
        say(f"  {name:<{width}}  {one.told('.3f')}{unseen}")
