"""`fdfo eval`: scores of base and adapters on the same prompts and seeds."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from torch import Tensor

from fdfo.commands.distances import distance_features, tell_distances
from fdfo.commands.evaluation_output import print_evaluation, write_evaluation
from fdfo.commands.evaluation_task import EvaluationTask, manifest
from fdfo.commands.memory import memory_explained
from fdfo.commands.model_choice import ModelChoice, default_steps, labelled
from fdfo.commands.output import prepare_folder
from fdfo.commands.terminal import say
from fdfo.config.tree import Config, PolicyConfig
from fdfo.drawing import BATCH
from fdfo.errors import ConfigError
from fdfo.evaluation.dataset import image_rows, write_metadata
from fdfo.evaluation.diversity import Features
from fdfo.evaluation.features import diversity_features, load_features
from fdfo.evaluation.heldout import judge_prompts
from fdfo.evaluation.ledger import Ledger
from fdfo.evaluation.report.text import pixels
from fdfo.evaluation.summary import BASE, Row, summary
from fdfo.files import write_json
from fdfo.interfaces import Policy
from fdfo.locks import one_writer
from fdfo.models.reading import reading_notes
from fdfo.records import Prompt
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.distributed import Team, this_team
from fdfo.training.folder import environment
from fdfo.visible import can_redraw, visible
from fdfo.words import plural

ENCODED_AHEAD = 512
"""Prompts that are encoded at a time: text encoders and transformer change places on the device once for them."""

TURN = 256
"""Images that wait in host memory for scores that take turns on the device."""

IMAGES = "images"
"""Folder of all images, where they are kept: a data set of the kind imagefolder, by its metadata.jsonl."""

SHOWN_PROMPTS = 24
"""Prompts whose first image is on the page."""


def run_evaluate(
    choices: Sequence[ModelChoice], task: EvaluationTask, output: Path | None, keep_images: bool
) -> list[Row]:
    """Print tables of means with intervals and paired differences to the base, and return them, in the main process.

    With `output`, a folder, everything measured is kept there, and the same command goes on after an interruption.
    `choices` differ in their adapter only.
    """
    config = choices[0].config()
    entries, scores = task.scores(config)
    measured = task.diversity or (config.eval.diversity if config is not None else None)
    features = diversity_features(measured, scores.embedders)
    apart = None if task.distance is None else distance_features(task.distance, scores.embedders)
    adapters = {label: choice for label, choice in labelled(choices, "adapter").items() if choice.has_adapter}
    if task.distance is not None:
        _check_distance(adapters, output)
    prompts = task.chosen_prompts(config)
    if problems := scores.conditions.problems(prompts, "prompts"):
        raise ConfigError("--rewards" if task.rewards is not None else "the run's scores", problems)
    steps = default_steps(task.steps, config)
    team = this_team()
    if output is None and team.size > 1:
        raise ConfigError("the command line", ["give --output FOLDER: it is where several processes meet"])
    variants = {BASE: choices[0], **adapters}
    with ExitStack() as stack:
        folder = output or Path(stack.enter_context(TemporaryDirectory()))
        ledger = Ledger(folder, team.rank, scores=scores.names, images_per_prompt=task.images)
        _open(team, ledger, stack, lambda: manifest(task, prompts, entries, steps, variants, config))
        worker = _Worker(team, ledger, scores, prompts, steps, task, features, keep_images)
        with memory_explained():
            for label, choice in variants.items():
                worker.judge(label, choice, config)
        team.wait()
        applied = scores.applied([prompt.metadata for prompt in prompts])
        results = {label: ledger.evaluation(label, prompts, steps=steps, applied=applied) for label in variants}
        if not team.is_main:
            return []
        choices[0].announce()
        for line in reading_notes(choices[0].settings(config), [prompt.text for prompt in prompts]):
            say(line)
        rows = summary(results)
        print_evaluation(rows, results)
        if output is not None:
            write_evaluation(ledger, results, rows, _facts(task, variants, config))
            if keep_images:
                write_metadata(folder / IMAGES, image_rows(results, [prompt.number for prompt in prompts]))
            say(f"wrote {output}: report.html, scores.csv, summary.md, summary.csv, summary.json")
        if task.distance is not None:
            worker.load_scores()
            tell_distances(folder, list(adapters), task.distance, apart, team.device)
        return rows


def _check_distance(adapters: Mapping[str, ModelChoice], output: Path | None) -> None:
    problems = [] if output else ["give --output FOLDER, which keeps the images"]
    if not adapters:
        problems.append("give --adapter or --run: it is a distance of an adapter's images to the base's")
    if problems:
        raise ConfigError("--distance", problems)


def _open(team: Team, ledger: Ledger, stack: ExitStack, described: Callable[[], Mapping[str, Any]]) -> None:
    """Process 0 keeps other writers out of the folder until the stack is closed, and begins or goes on there."""
    with team.together():
        if team.is_main:
            ledger.refuse_foreign()
            prepare_folder(ledger.folder)
            stack.enter_context(one_writer(ledger.folder, "wait until it has ended, or give another --output folder"))
            ledger.open(described())
            write_json(ledger.folder / "environment.json", environment())


@dataclass
class _Worker:
    """Judges, in this process, its part of what is not done yet."""

    team: Team
    ledger: Ledger
    scores: WeightedSum
    prompts: Sequence[Prompt]
    steps: int
    task: EvaluationTask
    features: Features
    keep_images: bool
    is_loaded: bool = False
    policy: Policy | None = None
    owner: ModelChoice | None = None

    def judge(self, label: str, choice: ModelChoice, config: Config | None) -> None:
        """Score the images of one set of weights and keep them in the ledger.

        Batches are the same for any process count, and after an interruption a batch is done again as a whole: so the
        numbers are the same to the last bit.
        """
        size = max(1, (TURN if self.scores.takes_turns else BATCH[self.team.device.type]) // self.task.images)
        batches = [self.prompts[start : start + size] for start in range(0, len(self.prompts), size)]
        done = self._done(label)
        left = [batch for batch in batches if any(prompt.number not in done for prompt in batch)]
        self.team.wait()  # until all have read
        if not left:
            return
        policy = self._policy(choice, config)
        console = Console(quiet=not self.team.is_main, stderr=True, force_terminal=can_redraw(sys.stderr))
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            own = left[self.team.rank :: self.team.size]
            ahead = max(1, ENCODED_AHEAD // size)
            for index, batch in enumerate(progress.track(own, description=escape(visible(label)))):
                if index % ahead == 0:
                    policy.prepare([prompt.text for later in own[index : index + ahead] for prompt in later])
                self._judge_part(policy, label, batch)

    def _done(self, label: str) -> Collection[int]:
        """Numbers of the prompts that are judged, and whose images are there where they are to be kept."""
        found = self.ledger.rows(label)
        if not self.keep_images:
            return found
        return [number for number in found if self.ledger.has_images(IMAGES, label, number)]

    @property
    def shown(self) -> frozenset[int]:
        """Numbers of the prompts whose first image is on the page, spread evenly."""
        return frozenset(i * len(self.prompts) // SHOWN_PROMPTS for i in range(SHOWN_PROMPTS))

    def _judge_part(self, policy: Policy, label: str, prompts: Sequence[Prompt]) -> None:
        def judge(images: Tensor, owners: Sequence[Prompt]) -> dict[str, Tensor]:
            if self.keep_images:
                self.ledger.save_images(IMAGES, label, prompts, (images.cpu() * 255).round().to(torch.uint8))
            return self.scores.components(images, [p.text for p in owners], [p.metadata for p in owners])

        judged = judge_prompts(
            policy,
            prompts,
            judge,
            steps=self.steps,
            images_per_prompt=self.task.images,
            seed=self.task.seed,
            features=self.features,
            shown=self.shown,
            weights="base" if label == BASE else "current",
            at_once=self.scores.takes_turns,
        )
        shown = [prompt for prompt in prompts if prompt.number in self.shown]
        self.ledger.save_images("shown", label, shown, judged.pictures)
        self.ledger.add(label, prompts, judged)

    def _policy(self, choice: ModelChoice, config: Config | None) -> Policy:
        """The policy of a choice, loaded once while it stays the same, and the scores with the first one."""
        if self.policy is None or self.owner is not choice:
            self.policy, self.owner = None, choice  # let the old one go before the new one comes
            self.policy = choice.load(config, self.team.device)
        self.load_scores()
        return self.policy

    def load_scores(self) -> None:
        """Load the scores and features, the first time."""
        if not self.is_loaded:
            self.scores.load(self.team.device, torch.float32)
            load_features(self.features, self.team.device)
            self.is_loaded = True


def _facts(task: EvaluationTask, variants: Mapping[str, ModelChoice], config: Config | None) -> list[tuple[str, str]]:
    settings = variants[BASE].settings(config)
    weights = [
        (label.capitalize() if label == "adapter" else label, one.place)
        for label, one in variants.items()
        if label != BASE
    ]
    steps = default_steps(task.steps, config)
    conditions = _conditions(settings, steps)
    trained = _conditions(config.policy, getattr(config.method, "steps", steps)) if config else conditions
    return [
        ("Model", settings.name),
        *weights,
        ("Prompts", task.prompts or "the run's held-out list"),
        ("Guidance", f"{settings.guidance:g}"),
        *([("Trained on", trained), ("Evaluated on", conditions)] if trained != conditions else []),
        ("Seed of the noise", str(task.seed)),
    ]


def _conditions(settings: PolicyConfig, steps: int) -> str:
    """What images are drawn with."""
    size = pixels(settings.resolution) if settings.resolution else "its own size"
    return f"{settings.name}, {size}, guidance {settings.guidance:g}, {plural(steps, 'step')}"
