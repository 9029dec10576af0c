"""Recipes, overrides, and one message for everything that is wrong."""

import pytest
import yaml

from fdfo.config.load import config_hash, from_mapping, load_config, recipe_names, to_yaml
from fdfo.errors import ConfigError


def problems(recipe="shapes", overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(recipe, overrides)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_a_round_trip(name):
    config = load_config(name)
    assert from_mapping(yaml.safe_load(to_yaml(config)), "again") == config


def test_the_paper_recipe_is_the_reference_setting_value_by_value():
    config = load_config("sd35-medium-paper")
    method = config.method.model_dump()
    expected = {"strength": 0.0025, "steps": 40, "branches": 2, "trained_times": "all", "clip_range": 0.03}
    assert expected.items() <= method.items()
    assert method["schedule"] == "uniform" and method["kl_weight"] == 0 and method["solver"] == "euler"
    assert (config.policy.adapter.kind, config.policy.adapter.rank, config.policy.adapter.alpha) == ("lora", 32, 64)
    assert (config.policy.resolution, config.policy.guidance, config.policy.text_tokens) == ((512, 512), 1.0, 128)
    optim = config.optim
    assert (optim.lr, optim.betas, optim.weight_decay, optim.max_grad_norm) == (3e-5, (0.9, 0.999), 1e-4, 1.0)
    assert (optim.updates_per_epoch, optim.ema) == (4, None)
    assert (config.prompts.pairs_per_epoch, config.train.epochs, config.eval.steps) == (432, 100, 40)


def test_overrides_use_dotted_names_and_yaml_values():
    config = load_config("shapes", ["method.strength=0.01", "reward=[{name: jpeg, weight: 2}]", "train.seed=7"])
    assert config.method.strength == 0.01
    assert (config.reward[0].name, config.reward[0].weight, config.train.seed) == ("jpeg", 2.0, 7)


def test_no_recipe_is_shapes():
    assert load_config() == load_config("shapes")


def test_a_recipe_may_start_from_another(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: shapes\noptim: {lr: 0.5}\n")
    config = load_config(str(path))
    assert config.optim.lr == 0.5
    assert config.optim.updates_per_epoch == load_config("shapes").optim.updates_per_epoch


def test_everything_wrong_is_reported_at_once_with_the_nearest_name():
    text = problems(
        overrides=[
            "method.clip_rage=0.1",
            "optim.lr=fast",
            "reward=[{name: pickskore}]",
            "train.epochs=0",
            "polcy.name=x",
        ]
    )
    assert "method.clip_rage: unknown key; did you mean 'clip_range'?" in text
    assert "optim.lr" in text and "'fast'" in text
    assert "reward.0.name: unknown reward 'pickskore'; did you mean 'pickscore'?" in text
    assert "train.epochs" in text
    assert "polcy: unknown key; did you mean 'policy'?" in text


@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("policy.adapter.rnk=3", "policy.adapter.rnk: unknown key; did you mean 'rank'?"),
        ("policy.dtype=float8", "policy.dtype"),
        ("method.name=fdfoo", "unknown method 'fdfoo'; did you mean 'fdfo'?"),
        ("method.trained_times=11", "trained_times=11 exceeds steps=10"),
        ("optim.updates_per_epoch=3", "use 2"),
        ("prompts.name=shapes-trian", "did you mean 'shapes-train'?"),
        ("reward=[{name: jpeg, qualty: 3}]", "reward.0.qualty: unknown option; did you mean 'quality'?"),
        ("reward=[]", "reward"),
        ("reward=[{name: nowhere.py:f}]", "no file 'nowhere.py'"),
        ("train.micro_batch=0", "train.micro_batch"),
        ("optim.lr=nan", "optim.lr"),
        ("eval.stop_when={metric: nothing}", "'nothing' is not evaluated"),
        ("policy.resolution=[32]", "policy.resolution"),
        ("method.strength=[1", "cannot read the overrides"),
        ("nonsense", "overrides look like section.key=value"),
    ],
)
def test_each_mistake_names_its_fix(override, fragment):
    assert fragment in problems(overrides=[override])


def test_unknown_recipe_names_the_nearest(tmp_path):
    assert "did you mean 'shapes-smoke'?" in problems("shapes-smok")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1")
    assert "not valid YAML" in problems(str(bad))


def test_hash_follows_the_content():
    config = load_config("shapes")
    assert config_hash(config) == config_hash(load_config("shapes"))
    assert config_hash(config) != config_hash(load_config("shapes", ["train.seed=1"]))
