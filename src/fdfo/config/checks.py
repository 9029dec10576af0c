"""Checks that need more than one field; each returns lines that name the smallest fix."""

from collections.abc import Iterator

from fdfo.config.tree import Config
from fdfo.errors import PluginError
from fdfo.plugins import find


def cross_field_problems(config: Config) -> list[str]:
    """Everything that is wrong with the combination of otherwise valid fields."""
    return [*_batch_arithmetic(config), *_evaluation(config), *_names(config)]


def _batch_arithmetic(config: Config) -> Iterator[str]:
    method = find("methods", config.method.name)(config.method)  # type: ignore[attr-defined]
    times, updates = method.trained_times, config.optim.updates_per_epoch
    if times % updates:
        divisors = [n for n in range(1, times + 1) if times % n == 0]
        fits = min(divisors, key=lambda n: abs(n - updates))
        yield (
            f"optim.updates_per_epoch={updates} does not divide the {times} trained times of a sample; "
            f"every update gets the same number of them: use {fits}"
        )


def _evaluation(config: Config) -> Iterator[str]:
    stop = config.eval.stop_when
    known = ["reward", *(entry.name for entry in (*config.reward, *config.eval.rewards))]
    if stop is not None and stop.metric not in known:
        yield f"eval.stop_when.metric: {stop.metric!r} is not evaluated; evaluated: {', '.join(known)}"


def _names(config: Config) -> Iterator[str]:
    lists = {"prompts.name": (config.prompts.path, config.prompts.name)}
    lists["prompts.eval_name"] = (config.prompts.eval_path, config.prompts.eval_name)
    for key, (path, name) in lists.items():
        if path is None:
            try:
                find("prompts", name)
            except PluginError as error:
                yield f"{key}: {error}"
