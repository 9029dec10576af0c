"""`fdfo train`."""

import os
import sys
from pathlib import Path
from textwrap import indent

import yaml

from fdfo.commands.terminal import say
from fdfo.config.load import load_config, load_typed, to_yaml
from fdfo.config.run_folder import CONFIG, has_begun, refuse_another
from fdfo.config.tree import Config
from fdfo.errors import ConfigError, FdfoError
from fdfo.words import plural


def run_train(arguments: list[str], run: Path | None, dry_run: bool, changed_inputs: bool, count: int) -> None:
    """Resolve the configuration, then check it and print the plan, or train, in `count` processes.

    Exits with 128 + signal number after an interrupt.
    """
    has_recipe = bool(arguments) and "=" not in arguments[0]
    recipe, overrides = (arguments[0], arguments[1:]) if has_recipe else (_own_recipe(run), arguments)
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first:
        typed = load_typed(recipe, overrides)  # what is wrong is said at once: it needs no torch
        if run is not None and has_begun(run):
            refuse_another(run, typed)
    if not dry_run and is_first:
        say("loading ...", flush=True)  # the method's module, which has its settings, imports torch
    config = _loaded(recipe, overrides)
    if dry_run or count > 1:  # one process alone checks as it begins; several would each say the same
        from fdfo.training.setup import check

        check(config)
    if dry_run:
        say(to_yaml(config))
        say(yaml.safe_dump({"plan": {"prompts": _prompts_told(config), **plan(config)}}, sort_keys=False, width=1000))
        from fdfo.planning.describe import describe
        from fdfo.planning.fetched import fetched

        told = {"fetches": fetched(config), "too_long": _prompts_too_long(config)}
        say(yaml.safe_dump(told, sort_keys=False, width=1000))
        say("memory: |\n" + indent(describe(config), "  "))
        return
    from fdfo.commands.memory import memory_explained
    from fdfo.commands.processes import processes
    from fdfo.training.interrupt import Interrupted
    from fdfo.training.loop import train

    try:
        with processes(count), memory_explained():  # of loading; a run explains its own
            train(config, run, changed_inputs=changed_inputs)
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signal_number)


def _prompts_too_long(config: Config) -> list[str]:
    """What is told of prompts that are not lists of ours, where the tokenizers are on this machine."""
    from fdfo.models.reading import reading_notes
    from fdfo.plugins import BUILT_IN
    from fdfo.prompts import load_prompts

    prompts = config.prompts
    lists = [(prompts.path, prompts.name), (prompts.eval_path, prompts.eval_name)]
    theirs = [(path, name) for path, name in lists if path or (name and name not in BUILT_IN["prompts"])]
    texts = [prompt.text for path, name in theirs for prompt in load_prompts(path, name or "", prompts.key)]
    return reading_notes(config.policy, texts) if texts else []


def _prompts_told(config: Config) -> str:
    """How many prompts are read and held out; lists that are fetched for it are not, before the run."""
    from fdfo.plugins import BUILT_IN
    from fdfo.prompts import evenly_spread, held_out_list, training_list
    from fdfo.prompts.told import prompts_told

    prompts, wanted = config.prompts, config.eval.prompts
    lists = [name for path, name in ((prompts.path, prompts.name), (prompts.eval_path, prompts.eval_name)) if not path]
    if fetched := [name for name in lists if name in BUILT_IN["prompts"] and not name.startswith("shapes-")]:
        return f"{', '.join(fetched)}: counted when read"
    held_out = evenly_spread(held_out_list(prompts, wanted), wanted)
    return "; ".join(prompts_told(prompts, wanted, training_list(prompts, wanted), held_out))


def _own_recipe(run: Path | None) -> str | None:
    """The configuration that a run folder holds, if it holds one."""
    return str(run / CONFIG) if run is not None and (run / CONFIG).is_file() else None


def _loaded(recipe: str | None, overrides: list[str]) -> Config:
    """The configuration. Raises ConfigError with all problems, among them those that are found after reading it."""
    try:
        return load_config(recipe, overrides)
    except ConfigError as error:
        if error.tree is None:
            raise
        from fdfo.training.setup import check

        further: list[str] = []
        try:
            check(error.tree)
        except ConfigError as found:
            further = found.problems
        except FdfoError as found:
            further = [str(found)]
        raise ConfigError(error.source, [*error.problems, *further]) from None


def plan(config: Config) -> dict[str, str]:
    """Batch arithmetic of an epoch, in words."""
    from fdfo.models.custom_policy import is_custom
    from fdfo.models.load import latent_shape
    from fdfo.plugins import method_of

    method = method_of(config.method)
    prompts, group = config.prompts.pairs_per_epoch, method.group_size
    images = prompts * group
    rows, updates = images * method.trained_times, config.optim.updates_per_epoch
    guided = 1 if config.policy.guidance == 1 else 2
    evaluations = f"{rows * method.row_evaluations * guided:.0f} (forward and backward)"
    if method.row_forwards:
        evaluations += f" and {rows * method.row_forwards * guided:.0f} (forward)"
    each = f" x {method.row_evaluations:g} evaluations" if method.row_evaluations != 1 else ""
    latent = "as its file makes it"
    if not is_custom(config.policy):
        latent = " x ".join(map(str, latent_shape(config.policy))) + ", float32"
    return {
        "images an epoch": f"{plural(prompts, 'prompt')} x {group} = {images}",
        "sampling": f"{method.sampling_evaluations(prompts) * guided:.0f} network evaluations (forward)",
        "training": f"{images} x {method.trained_times} trained times{each} = {evaluations}",
        "updates": f"{updates} of {plural(rows // updates, 'row')} an epoch, {updates * config.train.epochs} in all",
        "latent": latent,
    }
