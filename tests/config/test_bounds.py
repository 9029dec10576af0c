"""Every number that a user gives has a smallest and a largest value, in its type."""

from types import UnionType
from typing import Annotated, Union, get_args, get_origin, get_type_hints

import annotated_types
import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from fdfo.cli import app
from fdfo.comparison.plan import Plan
from fdfo.config.load import load_config, reward_entries
from fdfo.config.section import Section
from fdfo.config.tree import RewardConfig
from fdfo.errors import ConfigError, RewardError
from fdfo.plugins import BUILT_IN, find
from fdfo.rewards import build_reward

LOWER = (annotated_types.Ge, annotated_types.Gt)
UPPER = (annotated_types.Le, annotated_types.Lt)


def unbounded(annotation, metadata=()):
    """Whether a number somewhere in a type lacks a bound."""
    if get_origin(annotation) is Annotated:
        inside, *more = get_args(annotation)
        return unbounded(inside, (*metadata, *more))
    if get_origin(annotation) in (Union, UnionType, tuple):
        return any(unbounded(inside, metadata) for inside in get_args(annotation))
    if annotation not in (int, float):
        return False
    found = [one for entry in metadata for one in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]
    return not all(any(isinstance(one, kinds) for one in found) for kinds in (LOWER, UPPER))


def sections(cls):
    yield cls
    for sub in cls.__subclasses__():
        yield from sections(sub)


def test_what_unbounded_is():
    assert unbounded(int) and unbounded(float | None) and unbounded(tuple[float, ...])
    assert not unbounded(bool) and not unbounded(str | None)


def test_every_field_has_both_bounds():
    assert Plan
    for name in BUILT_IN["methods"]:
        find("methods", name)
    ours = [cls for cls in sections(Section) if cls.__module__.startswith("fdfo.")]
    lacking = [
        f"{cls.__name__}.{name}"
        for cls in ours
        for name, field in cls.model_fields.items()
        if unbounded(field.annotation, tuple(field.metadata))
    ]
    assert len(ours) > 15
    assert lacking == []


def test_every_option_of_a_score_has_both_bounds():
    lacking = []
    for name in BUILT_IN["rewards"]:
        types = get_type_hints(find("rewards", name).__init__, include_extras=True)
        lacking += [f"{name}.{key}" for key, annotation in types.items() if unbounded(annotation)]
    assert lacking == []


def numbers(group, path=""):
    """Options and arguments of all commands that are numbers, with what typer knows of them."""
    for command in group.registered_commands:
        for name, annotation in get_type_hints(command.callback, include_extras=True).items():
            if get_origin(annotation) is Annotated and {int, float} & {
                *get_args(annotation),
                *get_args(get_args(annotation)[0]),
            }:
                yield f"{path} {command.callback.__name__} {name}", get_args(annotation)[1]
    for sub in group.registered_groups:
        yield from numbers(sub.typer_instance, f"{path} {sub.name}")


def test_every_option_of_a_command_has_both_bounds():
    found = dict(numbers(app))
    assert len(found) > 10
    assert [name for name, option in found.items() if option.max is None or option.min is None] == []


@pytest.mark.parametrize(
    "override",
    [
        f"train.seed={2**64}",
        "optim.lr=true",
        "train.epochs=false",
        "optim.ema=true",
        "train.micro_batch=true",
        f"eval.noise_seed={2**64}",
        f"method.steps={10**30}",
        f"eval.steps={10**30}",
        f"policy.adapter.rank={10**8}",
        "train.collective_timeout_s=1.0e+308",
        "reward=[{name: jpeg, timeout_s: 1.0e+308}]",
        "reward=[{name: jpeg, weight: 1.0e+308}]",
        "policy.guidance=.inf",
        "policy.guidance=.nan",
        f"policy.resolution=[{10**9}, 512]",
        f"method.branches={10**9}",
        f"prompts.pairs_per_epoch={10**30}",
        f"train.epochs={10**9}",
        r'policy.name="a\0b"',
        f"policy.name={'a' * 5000}",
        f"policy.adapter.start={'a' * 5000}",
        f"eval.policy={'a' * 5000}",
        r'prompts.path="a\0b"',
        r'policy.adapter.targets=["a\0b"]',
        r'reward=[{name: "a\0.py:score"}]',
    ],
)
def test_values_that_cannot_work_are_one_line(override):
    key = override.partition("=")[0].rpartition(".")[2]
    with pytest.raises(ConfigError) as caught:
        load_config("shapes", [override])
    assert len(caught.value.problems) == 1
    assert key in caught.value.problems[0] or "name" in caught.value.problems[0]
    assert len(caught.value.problems[0]) < 1000


def test_seeds_up_to_the_largest_are_taken():
    assert load_config("shapes", [f"train.seed={2**63 - 1}"]).train.seed == 2**63 - 1


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "remote", "timeout_s": 1e308},
        {"name": "remote", "patience_s": 1e308},
        {"name": "remote", "batch_size": 10**9},
        {"name": "clip", "batch_size": 10**9},
        {"name": "vlm-server", "concurrency": 10**6},
        {"name": "detect", "threshold": 1.5},
        {"name": "jpeg", "quality": 101},
    ],
)
def test_options_of_scores_that_cannot_work_are_one_line(entry):
    with pytest.raises((RewardError, ConfigError)) as caught:
        build_reward(reward_entries([entry], "here")[0])
    assert list(entry)[1] in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "a cat", "--seeds", "100000000"],
        ["generate", "a cat", "--guidance", "inf"],
        ["generate", "a cat", "--guidance", "nan"],
        ["generate", "a cat", "--steps", str(10**30)],
        ["generate", "a cat", "--resolution", str(10**30)],
        ["eval", "--seed", str(2**64)],
        ["eval", "--count", str(10**30)],
        ["compare", "--jobs", str(10**9)],
    ],
)
def test_options_of_commands_that_cannot_work_are_refused(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


def test_nul_is_named():
    with pytest.raises(ValidationError, match="name holds the character NUL; remove it"):
        RewardConfig(name="a\0b")
