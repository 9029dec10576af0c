"""Checks that need more than one field, or this machine; each returns lines that name the smallest fix."""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from inspect import Parameter, signature
from typing import Any

from pydantic import ValidationError

from fdfo.config.presets import PRESETS, expanded
from fdfo.config.scores import RESERVED
from fdfo.config.tree import Config, RewardConfig
from fdfo.errors import FdfoError, RewardError, install_advice, nearest
from fdfo.guard.files import file_of, is_file_name
from fdfo.plugins import BUILT_IN, SETTINGS, find, method_of, names

EMBEDDED = "shapes"
"""Name of the embedded model."""

QUANTIZED = ("quantize", "quantize_text")
"""Fields of a policy whose libraries are extras."""


def cross_field_problems(config: Config) -> list[str]:
    """Everything that is wrong with the combination of otherwise valid fields; no method is imported for it.

    What a method of others trains on only its code knows (`imported_problems`).
    """
    return [
        *(_batch_arithmetic(config, config.method.num_trained) if _is_ours(config) else ()),  # type: ignore[attr-defined]
        *_decay(config),
        *_warmup(config),
        *_quantized(config),
        *_on_policy(config),
        *_evaluation(config),
        *_judged_elsewhere(config),
        *_threads(config),
    ]


def machine_problems(config: Config) -> list[str]:
    """Everything that is named and is not here: models, trackers, and what works in few bits; nothing is imported."""
    return [*_models(config), *_trackers(config), *_bitsandbytes(config), *_torchao(config)]


def imported_problems(config: Config, *, check_machine: bool) -> list[str]:
    """What only the code of methods and prompt lists can tell."""
    lists = [*_prompt_lists(config)] if check_machine else []
    return lists if _is_ours(config) else [*_batch_arithmetic(config, method_of(config.method).trained_times), *lists]


def _is_ours(config: Config) -> bool:
    return config.method.name in SETTINGS  # type: ignore[attr-defined]


def name_problems(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names of scores and of prompts alone: nothing is imported or read for it."""
    scores = [f"{key}{problem}" for key, reward in _entries(raw) if (problem := _name_problem(reward))]
    scores += [
        f"{key}.label: {reward.title!r} stands for something else; use another label"
        for key, reward in _entries(raw)
        if reward.title in RESERVED
    ]
    return [*scores, *_prompt_names(raw.get("prompts"))]


def score_problems(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names and options of the scores, in a tree that need not be valid otherwise."""
    problems = []
    for key, reward in _entries(raw):
        problems += [f"{key}{text}" for text in _option_problems(reward)]
        if key.startswith("eval.") and _is_pairwise(reward):
            problems.append(f"{key}: {PAIRWISE_IS_FOR_TRAINING.format(name=repr(reward.title))}")
    return problems


def _entries(raw: Mapping[str, Any]) -> Iterator[tuple[str, RewardConfig]]:
    """Key and section of every score whose section is valid; the others are reported with the tree."""
    evaluation = raw.get("eval")
    watched = evaluation.get("rewards") if isinstance(evaluation, Mapping) else None
    for key, entries in {"reward": raw.get("reward"), "eval.rewards": watched}.items():
        try:
            listed = expanded(entries) if isinstance(entries, list | tuple) else []
        except ValueError:
            continue
        for index, entry in enumerate(listed):
            try:
                yield f"{key}.{index}", RewardConfig.model_validate(entry)
            except ValidationError:
                continue


PAIRWISE_IS_FOR_TRAINING = (
    "{name} compares two images of one prompt and has no score for one image; watch another score"
)


def _is_pairwise(reward: RewardConfig) -> bool:
    return reward.name in names("rewards") and getattr(find("rewards", reward.name), "pairwise", False)


def _name_problem(reward: RewardConfig) -> str | None:
    if reward.name.endswith((".py", ".py:")):
        return f".name: {reward.name!r} names no function; use {reward.name.removesuffix(':')}:function"
    if is_file_name(reward.name):
        path = file_of(reward.name)
        return None if path.is_file() else f".name: no file {str(path)!r}"
    if reward.name.startswith("python:") or reward.name in BUILT_IN["rewards"] or reward.name in names("rewards"):
        return None
    hint = nearest(reward.name, [*names("rewards"), *PRESETS])
    return f".name: unknown reward {reward.name!r}; {hint} (a score of your own: path/to/file.py:function)"


def _option_problems(reward: RewardConfig) -> list[str]:
    if problem := _name_problem(reward):
        return [problem]
    if is_file_name(reward.name):
        return []
    try:
        accepted = signature(find("rewards", reward.name)).parameters
    except RewardError as error:
        return [f".name: {error}"]
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in accepted.values()):
        return []
    valid = [*accepted, *RewardConfig.model_fields]
    return [f".{key}: unknown option; {nearest(key, valid)}" for key in reward.options if key not in accepted]


def _prompt_names(section: Any) -> Iterator[str]:
    """Of files that are not there, and of lists that nobody registered."""
    section = section if isinstance(section, Mapping) else {}
    for above in ("", "eval_"):
        path, name = section.get(f"{above}path"), section.get(f"{above}name")
        if isinstance(path, str) and "\0" not in path and not os.path.exists(os.path.expanduser(path)):
            yield f"prompts.{above}path: {path}: no such file"
        elif path is None and isinstance(name, str) and _is_unknown_list(name):
            yield f"prompts.{above}name: unknown prompts {name!r}; {nearest(name, names('prompts'))}"


def _is_unknown_list(name: str) -> bool:
    return not is_file_name(name) and not name.startswith("python:") and name not in names("prompts")


def _batch_arithmetic(config: Config, times: int) -> Iterator[str]:
    updates = config.optim.updates_per_epoch
    if times % updates:
        divisors = [n for n in range(1, times + 1) if times % n == 0]
        fits = min(divisors, key=lambda n: abs(n - updates))
        yield (
            f"optim.updates_per_epoch={updates} does not divide the {times} trained times of a sample; "
            f"every update gets the same number of them: use {fits}"
        )


def _decay(config: Config) -> Iterator[str]:
    optim = config.optim
    if optim.lr * optim.weight_decay >= 1:
        yield (
            f"optim.weight_decay={optim.weight_decay:g}: with optim.lr={optim.lr:g} a step turns the weights around; "
            f"use less than {1 / optim.lr:g}"
        )


def _quantized(config: Config) -> Iterator[str]:
    policy = config.policy
    if policy.quantize is not None and policy.adapter.kind == "full":
        yield (
            f"policy.quantize={policy.quantize}: weights in few bits cannot be trained themselves; "
            "use policy.adapter.kind=lora, or no policy.quantize"
        )
    if policy.quantize is not None and policy.adapter.dora:
        yield (
            f"policy.quantize={policy.quantize}: DoRA needs the lengths of rows that are in few bits; use "
            "policy.adapter.rslora or a plain LoRA, or no policy.quantize"
        )


def _warmup(config: Config) -> Iterator[str]:
    steps = config.train.epochs * config.optim.updates_per_epoch
    if 0 < steps <= config.optim.warmup:
        yield (
            f"optim.warmup={config.optim.warmup}: the run has {steps} optimizer steps (train.epochs x "
            f"optim.updates_per_epoch); use at most {steps - 1}"
        )


def _on_policy(config: Config) -> Iterator[str]:
    updates = config.optim.updates_per_epoch
    if getattr(config.method, "on_policy", False) and updates > 1:
        yield (
            f"method.on_policy=true holds for the first of optim.updates_per_epoch={updates} alone; use one update, or "
            "on_policy=false, which evaluates the sampling policy at every row"
        )


def _threads(config: Config) -> Iterator[str]:
    if config.train.overlap_scoring is True and config.policy.attention != "auto":
        yield (
            f"train.overlap_scoring=true: torch sets policy.attention={config.policy.attention} for all threads, those "
            "that score included; use auto for one of them"
        )


def _evaluation(config: Config) -> Iterator[str]:
    trained = [entry.title for entry in config.reward]
    others = ", ".join(entry.title for entry in config.eval.rewards if entry.title not in trained)
    for index, entry in enumerate(config.eval.rewards):
        if entry.title in trained:
            yield (
                f"eval.rewards.{index}: {entry.title!r} is already trained on, and evaluated as such; "
                f"leave it out: 'eval.rewards=[{others}]'"
            )
        if entry.standardize:
            yield f"eval.rewards.{index}.standardize: only scores that are trained on are standardised; remove it"
    stop = config.eval.stop_when
    known = ["reward", *trained, *(entry.title for entry in config.eval.rewards)]
    if stop is not None and stop.metric not in known:
        yield f"eval.stop_when.metric: {stop.metric!r} is not evaluated; evaluated: {', '.join(known)}"


def _judged_elsewhere(config: Config) -> Iterator[str]:
    """Of another model to judge on, what its files need not be read for."""
    policy, other = config.policy, config.eval.policy
    if is_file_name(policy.name) or is_file_name(config.evaluated_policy.name):
        if config.evaluated_policy != policy:
            yield (
                "eval.policy, eval.resolution, eval.guidance: one of a file is judged as it is trained; set all to null"
            )
    elif other is not None and policy.adapter.kind == "full":
        yield "eval.policy needs policy.adapter.kind=lora: weights that are trained whole fit no other model"
    elif other is not None and policy.adapter.start is not None:
        yield "eval.policy does not go with policy.adapter.start: the sibling has no such start; set one to null"
    elif other is not None and policy.quantize is not None:
        yield "eval.policy needs policy.quantize=null: weights in few bits cannot make room for another network"


def _models(config: Config) -> Iterator[str]:
    for key, name in {"policy.name": config.policy.name, "eval.policy": config.eval.policy}.items():
        if name is not None and not is_file_name(name) and (problem := model_name_problem(name)):
            yield f"{key}={problem}"


def model_name_problem(name: str) -> str | None:
    """Why a name can be no pipeline, known without asking the hub: a hub id has an owner."""
    if name == EMBEDDED or "/" in name or os.path.isdir(name):  # Path.is_dir raises where a name is too long
        return None
    return f"{name}: no such folder, and a hub id looks like OWNER/NAME; {nearest(name, [EMBEDDED])}"


def _prompt_lists(config: Config) -> Iterator[str]:
    lists = {"prompts.name": (config.prompts.path, config.prompts.name)}
    lists["prompts.eval_name"] = (config.prompts.eval_path, config.prompts.eval_name)
    for key, (path, name) in lists.items():
        if path is None and name is not None:
            try:
                find("prompts", name)
            except FdfoError as error:
                yield f"{key}: {error}"


def _bitsandbytes(config: Config) -> Iterator[str]:
    wanted = ["optim.kind=adamw8bit"] if config.optim.kind == "adamw8bit" else []
    lists = {"reward": config.reward, "eval.rewards": config.eval.rewards}
    wanted += [
        f"{key}.{index}.quantize"
        for key, entries in lists.items()
        for index, entry in enumerate(entries)
        if entry.options.get("quantize") is not None
    ]
    wanted += [f"policy.{key}=nf4" for key in QUANTIZED if getattr(config.policy, key) == "nf4"]
    if wanted and find_spec("bitsandbytes") is None:
        yield f"{', '.join(wanted)}: the package 'bitsandbytes' is not installed; {install_advice('bitsandbytes')}"


def _torchao(config: Config) -> Iterator[str]:
    found = {f"policy.{key}": getattr(config.policy, key) for key in QUANTIZED}
    wanted = [f"{key}={value}" for key, value in found.items() if value in ("int8", "fp8")]
    if wanted and find_spec("torchao") is None:
        yield f"{', '.join(wanted)}: the package 'torchao' is not installed; {install_advice('torchao')}"


def _trackers(config: Config) -> Iterator[str]:
    for name in dict.fromkeys(config.log.trackers):
        if find_spec(name) is None:
            yield f"log.trackers: the package {name!r} is not installed; {install_advice(name)}"
