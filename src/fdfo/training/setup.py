"""Builds what a run needs from its configuration: folder, prompts, policy, reward, optimizer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch
from torch.nn import Parameter

from fdfo.config.checks import score_problems
from fdfo.config.tree import Config, OptimConfig
from fdfo.errors import ConfigError, FdfoError, ModelError, RewardError
from fdfo.evaluation.features import diversity_features
from fdfo.models.custom_policy import is_custom
from fdfo.models.load import evaluated_problems, is_planned, policy_from_config, policy_problems
from fdfo.models.policy import of_pipeline
from fdfo.planning.batches import chosen_batches, free_bytes, is_own_device
from fdfo.planning.memory import Batches
from fdfo.plugins import method_of
from fdfo.prompts import PromptFile, held_out_list, read_prompts, training_list
from fdfo.prompts.source import ListSource, evenly_spread
from fdfo.records import Prompt
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.engine import Engine
from fdfo.training.folder import RunFolder, new_run_folder
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import Phases
from fdfo.training.sharding import check_sharding, shard_base, shards_base
from fdfo.training.start import start_of
from fdfo.words import plural

USUAL_TEXT = ", ".join(["a small red house on a hill by the sea"] * 10)
"""A text as long as long prompts of people. Its conditioning is measured where no table gives the size."""


@contextmanager
def run_folder(
    config: Config, run_dir: str | Path | None, team: Team, waiting: Callable[[], None] | None = None
) -> Iterator[RunFolder]:
    """The given folder, or the next numbered one below `runs/`; created, or checked to hold this configuration.

    As long as inside, process 0 keeps other writers out; where there is one, all raise, or wait with `waiting`
    (RunFolder.held).
    """
    folder = RunFolder(_new_folder(config, team) if run_dir is None else Path(run_dir))
    with ExitStack() as stack:
        with team.together():
            if team.is_main:
                stack.enter_context(folder.held(waiting))
                folder.prepare(config)
        yield folder


def _new_folder(config: Config, team: Team) -> Path:
    """The next numbered folder; made by process 0, known to all."""
    parts = (config.method.name, config.policy.name)  # type: ignore[attr-defined]
    root, name = Path("runs"), "-".join(Path(part).name.replace(".py:", "-") for part in parts)
    number = 0
    with team.together():
        if team.is_main:
            number = int(new_run_folder(root, name).name.partition("-")[0])
    (number,) = team.sum([number])
    return root / f"{int(number):05d}-{name}"


def training_prompts(config: Config, team: Team) -> ListSource:
    """The source of training prompts. Raises PromptError, or ConfigError when a process would get none."""
    _check_share("prompts.pairs_per_epoch", config.prompts.pairs_per_epoch, team)
    return ListSource(training_list(config.prompts, config.eval.prompts), config.train.seed)


def held_out_prompts(config: Config, team: Team) -> list[Prompt]:
    """The evaluation prompts, spread evenly over their list. Raises as `training_prompts`."""
    prompts = evenly_spread(held_out_list(config.prompts, config.eval.prompts), config.eval.prompts)
    _check_share("eval.prompts", len(prompts), team)
    if shards_base() and (left := len(prompts) % team.size):
        even = len(prompts) - left
        problem = f"{plural(len(prompts), 'prompt')} do not divide by {team.size} processes; use {even}, or DDP"
        raise ConfigError("eval.prompts, for sharded base weights (FSDP)", [problem])
    return prompts


def prompt_notes(config: Config) -> list[str]:
    """A line for everything in the prompt files that was not read."""
    return [f"{path}: {note}" for path, file in _prompt_files(config) for note in file.notes]


def precision_notes(config: Config, device: torch.device) -> list[str]:
    """A line where the precision makes the run slow without a gain: measured here, .3 instead of 3.1 images/s."""
    dtype = config.policy.dtype
    if device.type != "cpu" or dtype == "float32":
        return []
    return [f"policy.dtype={dtype} on a CPU: most are several times as fast with policy.dtype=float32"]


def _prompt_files(config: Config) -> list[tuple[str, PromptFile]]:
    """Path and content of each prompt file. Raises PromptError."""
    paths = dict.fromkeys((config.prompts.path, config.prompts.eval_path))
    return [(path, read_prompts(path, config.prompts.key)) for path in paths if path is not None]


def _check_share(key: str, count: int, team: Team) -> None:
    if count < team.size:
        raise ConfigError(
            key, [f"{plural(count, 'prompt')} cannot go round {team.size} processes; use at least {team.size}"]
        )


def check(config: Config) -> None:
    """Everything that can be known before a weight is read: the model's shape, prompt files, scores.

    Raises ConfigError with all problems, or ModelError for a model that cannot be found.
    """
    problems: list[str] = []
    for path in dict.fromkeys((config.prompts.path, config.prompts.eval_path)):
        if path is not None:
            problems += _problem(lambda path=path: read_prompts(path, config.prompts.key))
    if config.prompts.key is not None and not problems and not any(file.column for _, file in _prompt_files(config)):
        problems.append(f"prompts.key={config.prompts.key}: no prompt file has columns; remove it")
    if not score_problems(config.model_dump()):  # said where the configuration was read
        problems += _scores(config)
    problems += _problem(lambda: start_of(config.policy))
    try:
        problems += policy_problems(config.policy)
        if not problems:
            problems += evaluated_problems(config)
    except ModelError as error:
        if not problems:
            raise
        problems.append(str(error))
    if problems:
        raise ConfigError("the configuration", problems)


def _scores(config: Config) -> list[str]:
    """What is wrong with the scores, whose names and options are right."""
    problems = _problem(lambda: WeightedSum(config.eval.rewards))
    problems += _problem(lambda: _check_reward_fits(config, WeightedSum(config.reward)))
    if problems:
        return problems
    embedders = {**WeightedSum(config.eval.rewards).embedders, **WeightedSum(config.reward).embedders}
    return _problem(lambda: diversity_features(config.eval.diversity, embedders))


def check_scored(config: Config, prompts: Sequence[Prompt], held_out: Sequence[Prompt]) -> None:
    """Raise ConfigError for prompts that no trained score is asked about, and scores that are asked about none."""
    trained, unseen = WeightedSum(config.reward).conditions, WeightedSum(config.eval.rewards).conditions
    problems = trained.problems(prompts, "training prompts") + trained.problems(held_out, "held-out prompts")
    problems += unseen.problems(held_out, "held-out prompts", all_scored=False)
    if problems:
        raise ConfigError("reward", problems)


def _problem(attempt: Callable[[], object]) -> list[str]:
    """The error of an attempt as a line; no line if it succeeded."""
    try:
        attempt()
    except FdfoError as error:
        return [str(error)]
    return []


def _check_reward_fits(config: Config, reward: WeightedSum) -> None:
    method = method_of(config.method)
    smooth = [name for name, part in zip(reward.names, reward.rewards, strict=True) if part.differentiable]
    rough = [name for name in reward.names if name not in smooth]
    follows = method.needs_score_gradient or method.differentiates_reward
    if follows and reward.takes_turns:
        raise RewardError(
            f"method.name={config.method.name}: these settings follow the gradient of the score, "  # type: ignore[attr-defined]
            "whose network has to stay on its device for that; remove offload from the trained scores"
        )
    if rough and follows:
        raise RewardError(
            f"method.name={config.method.name}: these settings follow the gradient of the score, and "  # type: ignore[attr-defined]
            f"{', '.join(rough)} has none; train on differentiable scores alone, or use another method"
        )
    if reward.pairwise and method.group_size == 1:
        raise RewardError(
            f"method.name={config.method.name}: these settings draw one image of a prompt, and "  # type: ignore[attr-defined]
            f"{', '.join(reward.pairwise)} compares several; train on scores of single images, or use groups"
        )
    stop = config.eval.stop_when
    if stop is not None and stop.metric in {*reward.asked.names, *([] if reward.held_out else ["reward"])}:
        raise RewardError(
            f"eval.stop_when.metric: people are asked about training images alone, so {stop.metric!r} is not "
            "evaluated; name a score of eval.rewards"
        )


def build_engine(config: Config, team: Team, stop: StopRequest, console: Console) -> Engine:
    """Load the policy and the trained reward, the latter in float32. Raises ModelError or RewardError."""
    free = free_bytes(team.device)  # before anything is there
    reward = WeightedSum(config.reward)
    method = method_of(config.method)
    if shards_base():
        check_sharding(config, team)
    with team.together():
        start = start_of(config.policy)
        begun = {} if start is None else {"start": start}
        policy = policy_from_config(config.policy, seed=config.train.seed, device=team.device, **begun)
        if start is not None:
            console.say(f"training on from {start}: {policy.weights.told()}; evaluations compare with it, as base")
        measured = not (is_custom(config.policy) or is_planned(config.policy))
        row = partial(of_pipeline(policy).row, USUAL_TEXT) if measured else lambda: None
        own = chosen_batches(config, team.device, free, team.size if shards_base() else 1, row)
    batches = _smallest(own, team)
    policy.branches_together = batches.branches_together
    if shards_base():
        shard_base(policy, team)
    with team.together():
        reward.load(team.device, torch.float32)
    optimizer = build_optimizer(config.optim, policy.trainable())
    ema = None
    if config.optim.ema is not None:
        ema = policy.weights.snapshots["ema"] = policy.weights.copy()
    for name in method.averages:
        policy.weights.snapshots[name] = policy.weights.copy()
    return Engine(
        config=config,
        team=team,
        policy=policy,
        method=method,
        reward=reward,
        optimizer=optimizer,
        phases=Phases(team.device),
        stop=stop,
        micro_batch=batches.micro_batch,
        sample_batch=batches.sample_batch,
        score_batch=batches.sample_batch * method.group_size,
        console=console,
        overlap=overlaps(config, reward, team.device),
        ema=ema,
    )


def build_optimizer(config: OptimConfig, parameters: Sequence[Parameter]) -> torch.optim.Optimizer:
    """The configured AdamW of these parameters."""
    options = {"lr": config.lr, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.kind == "adamw8bit":
        from bitsandbytes.optim.adamw import AdamW8bit

        return AdamW8bit(parameters, **options)
    return torch.optim.AdamW(parameters, **options, fused=True)


def _smallest(own: Batches, team: Team) -> Batches:
    """The smallest batch sizes of all processes: cards may differ in free memory, and in their scores."""
    chosen = team.gather_rows(torch.tensor([[own.micro_batch, own.sample_batch, own.branches_together]]))
    micro_batch, sample_batch, together = chosen.amin(0).tolist()
    return Batches(micro_batch, sample_batch, branches_together=bool(together))


def overlaps(config: Config, reward: WeightedSum, device: torch.device) -> bool:
    """Whether to score while sampling goes on: not where both would compete for the same device."""
    wanted = config.train.overlap_scoring
    if wanted != "auto":
        return wanted
    if config.policy.attention != "auto":
        return False  # which torch sets for all threads
    return reward.is_remote or not all(is_own_device(entry.device, device) for entry in config.reward)
