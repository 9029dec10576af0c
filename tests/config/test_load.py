"""Recipes, overrides, and one message for everything that is wrong."""

import math
import sys
from pathlib import Path

import pytest
import yaml

from fdfo.config.load import config_hash, from_mapping, load_config, recipe_names, to_yaml
from fdfo.config.recipe_files import grouped
from fdfo.config.run_folder import load_run_config
from fdfo.errors import CheckpointError, ConfigError


def problems(recipe="shapes", overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(recipe, overrides)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_a_round_trip(name):
    needs = ["policy.name=shapes", "reward=[jpeg]"] if name == "own" else []
    config = load_config(name, needs)
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
    assert [(entry.title, entry.weight) for entry in config.reward] == [("pickscore", 1.0), ("vlm-alignment", 0.1)]


def test_the_fast_recipe_perturbs_as_much_as_the_published_one_and_trains_on_a_twentieth_of_it():
    fast, paper = load_config("sd35-medium-fast"), load_config("sd35-medium-paper")
    spread = [(config.method.steps + 1) * math.log1p(config.method.strength) for config in (fast, paper)]
    assert spread[0] == pytest.approx(spread[1], rel=0.1)
    assert (fast.method.steps, fast.method.trained_times, fast.optim.updates_per_epoch) == (10, 2, 2)
    assert fast.optim.model_copy(update={"updates_per_epoch": 4}) == paper.optim
    assert fast.prompts == paper.prompts and fast.policy == paper.policy


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
            "train.epochs=-1",
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
        ("reward=[my.py]", "use my.py:function"),
        (
            "eval.rewards=[{name: jpeg, label: diversity}]",
            "eval.rewards.0.label: 'diversity' stands for",
        ),
        ("reward=jpeg", "reward: expected a list such as [a, b], got 'jpeg'"),
        ("train.micro_batch=0", "train.micro_batch: input should be greater than or equal to 1, got 0"),
        ("train.micro-batch=3", "train.micro-batch: unknown key; did you mean 'micro_batch'?"),
        ("method.trained-times=2", "method.trained-times: unknown key; did you mean 'trained_times'?"),
        ("my-key=1", "my-key: unknown key; valid: eval"),
        ("lr=1e-4", "lr: unknown key; did you mean optim.lr?"),
        ("optim.epochs=3", "optim.epochs: unknown key; did you mean train.epochs?"),
        ("method.rank=3", "method.rank: unknown key; did you mean policy.adapter.rank?"),
        ("policy.adapter.strength=1", "policy.adapter.strength: unknown key; did you mean method.strength?"),
        ("eval.stop_when={metric: reward, betas: 1}", "eval.stop_when.betas: unknown key; did you mean optim.betas?"),
        ("pairs_per_epok=3", "pairs_per_epok: unknown key; did you mean prompts.pairs_per_epoch?"),
        ("steps=3", "steps: unknown key; did you mean eval.steps or method.steps?"),
        ("train.int=3", "train.int: unknown key"),
        ("eval=5", "eval: expected a section such as {key: value}, got 5"),
        ("optim.betas=[2,0.5]", "optim.betas.0: input should be less than or equal to 0.999999, got 2"),
        ("eval.stop_when={metrc: reward}", "eval.stop_when.metrc: unknown key; did you mean 'metric'?"),
        ("eval.rewards=[shapes-verifier]", "eval.rewards.0: 'shapes-verifier' is already trained on"),
        ("reward=[shapes-contrastive]", "leave it out: 'eval.rewards=[shapes-neatness]'"),
        ("optim.lr=nan", "optim.lr"),
        ("eval.stop_when={metric: nothing}", "'nothing' is not evaluated"),
        ("policy.resolution=[32]", "policy.resolution"),
        ("method.strength=[1", "method.strength: cannot read '[1' as YAML"),
        ("nonsense", "overrides look like section.key=value"),
    ],
)
def test_each_mistake_names_its_fix(override, fragment):
    assert fragment in problems(overrides=[override])


def test_a_kernel_of_attention_would_hold_for_scores_in_the_background():
    text = problems(overrides=["policy.attention=flash", "train.overlap_scoring=true"])
    assert "train.overlap_scoring=true: torch sets policy.attention=flash for all threads" in text


def test_an_unusable_entry_is_one_problem():
    with pytest.raises(ConfigError) as caught:
        load_config("shapes", ["reward=[{name: jpeg, weight: much}]"])
    (problem,) = caught.value.problems
    assert problem.startswith("reward.0.weight: ")


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("a ${b}", "a ${b}"),
        ("two {blue} squares", "two {blue} squares"),
        ('it\'s a "sign"', 'it\'s a "sign"'),
        ("'{blurry}: ${low}'", "{blurry}: ${low}"),
        ("\"'quoted'\"", "'quoted'"),
        ("a = b", "a = b"),
    ],
)
def test_prompts_are_data(override, text):
    config = load_config("shapes", [f"policy.negative_prompt={override}"])
    assert config.policy.negative_prompt == text
    assert from_mapping(yaml.safe_load(to_yaml(config)), "again") == config


def test_overrides_nest_and_the_later_one_counts():
    overrides = [
        "optim.lr=1",
        "optim={betas: [0.1, 0.2], lr: 3e-5}",
        "optim.kind=adamw",
        "eval.stop_when.metric=reward",
    ]
    config = load_config("shapes", [*overrides, "eval.stop_when.patience=4", "method.steps=7", "method.name=ddpo"])
    assert (config.optim.lr, config.optim.betas, config.optim.kind) == (3e-5, (0.1, 0.2), "adamw")
    assert (config.eval.stop_when.metric, config.eval.stop_when.patience) == ("reward", 4)
    assert (config.method.name, config.method.steps) == ("ddpo", 7)  # its own, whatever was named first


def test_an_option_of_a_score_is_a_number_in_a_recipe_and_on_the_command_line(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: shapes\nreward: [{name: jpeg, weight: 1e-2, quality: 5e1}]\n")
    (written,) = load_config(recipe).reward
    (typed,) = load_config("shapes", ["reward=[{name: jpeg, weight: 1e-2, quality: 5e1}]"]).reward
    assert written == typed
    assert (written.weight, written.options["quality"]) == (0.01, 50.0)


def test_a_value_that_is_no_yaml_is_refused_with_advice():
    assert "needs quotes inside" in problems(overrides=["policy.negative_prompt={blurry} picture"])


def test_trackers_must_be_installed(monkeypatch):
    monkeypatch.setattr("fdfo.config.checks.find_spec", lambda name: None if name == "wandb" else object())
    assert load_config("shapes", ["log.trackers=[tensorboard]"]).log.trackers == ("tensorboard",)
    text = problems(overrides=["log.trackers=[tensorboard, wandb]"])
    assert text.startswith("log.trackers: the package 'wandb' is not installed; install it: ")
    assert text.endswith(f"{Path(sys.executable).name} -m pip install wandb")


def test_a_run_can_be_read_where_its_scores_and_trackers_are_not(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fdfo.config.checks.find_spec", lambda name: object())
    (tmp_path / "mine.py").touch()
    config = load_config("shapes", ["reward=[mine.py:score]", "log.trackers=[wandb]"])
    monkeypatch.undo()
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_run_config(tmp_path) == config


@pytest.mark.parametrize("content", ["", "text", "[1]", "a: [", b"# caf\xe9", "a: 1\na: 2\n", "[" * 5000, "9" * 5000])
def test_a_folder_that_is_no_run_is_refused(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match="not a run folder"):
        load_run_config(tmp_path)


def test_unusable_recipe_files_are_explained(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("base: b.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    assert "a.yaml -> b.yaml -> a.yaml goes round in a circle" in problems("a.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"base: shapes\n# caf\xe9\n")
    assert "line 2 is not UTF-8" in problems("latin.yaml")
    (tmp_path / "numbers.yaml").write_text("base: shapes\n3: 4\n")
    assert "3: unknown key" in problems("numbers.yaml")


def test_the_resolution_defaults_to_the_models_own(tmp_path):
    (tmp_path / "mine.yaml").write_text("method: {name: fdfo}\nreward: [jpeg]\n")
    assert load_config(tmp_path / "mine.yaml").policy.resolution is None
    assert load_config("shapes").policy.resolution == (32, 32)


def test_a_recipe_that_is_not_there_is_told_by_what_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("base: shapes\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "warmth.yml").touch()
    for given, there in {"my.yml": "my.yaml", "my": "my.yaml", "warmht.yaml": "warmth.yml"}.items():
        assert problems(given) == f"no such file; did you mean {there}?"
    assert problems("sub/my.yaml").startswith("no such recipe, and no YAML file; `fdfo train --help` lists")
    assert "`fdfo train --run folder`" in problems("folder")
    assert problems("notes.txt") == "a recipe's name ends in .yaml; rename the file"
    (tmp_path / "based.yaml").write_text("base: my.yml\n")
    assert problems("based.yaml") == "no such file; did you mean my.yaml?"


def test_recipes_are_listed_by_how_they_begin():
    names = ["a-1", "a-2-x", "a-3", "a-4", "a", "b-1", "c-1", "c-2"]
    assert grouped(names) == {"": ["a", "b-1", "c-1", "c-2"], "a-": ["1", "2-x", "3", "4"]}


def test_unknown_recipe_names_the_nearest(tmp_path):
    assert "did you mean 'shapes-smoke'?" in problems("shapes-smok")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1")
    assert "not valid YAML" in problems(str(bad))


def test_hash_follows_the_content():
    config = load_config("shapes")
    assert config_hash(config) == config_hash(load_config("shapes"))
    assert config_hash(config) != config_hash(load_config("shapes", ["train.seed=1"]))


@pytest.mark.parametrize(
    "name", ["flow-grpo", "flow-grpo-classic", "ddpo", "refl", "draft", "nft", "awm", "art", "rvm", "opsd"]
)
def test_rivals_start_from_the_same_model_and_prompts(name):
    for base, recipe in (("sd35-medium-paper", f"sd35-{name}"), ("shapes", f"shapes-{name}")):
        ours, theirs = load_config(base), load_config(recipe)
        assert theirs.policy.model_copy(update={"guidance": ours.policy.guidance}) == ours.policy
        sources = [(config.prompts.name, config.prompts.eval_name) for config in (ours, theirs)]
        assert sources[0] == sources[1]
        assert theirs.method.name == name.removesuffix("-classic").replace("-", "_")


def test_published_settings_of_the_rivals_value_by_value():
    names = ("flow-grpo", "flow-grpo-classic", "nft", "awm", "ddpo", "refl", "draft")
    fast, grpo, nft, awm, ddpo, refl, draft = (load_config(f"sd35-{name}") for name in names)
    expected = {"group_size": 24, "steps": 10, "noise_level": 0.7, "kl_weight": 0.01, "clip_range": 1e-4}
    assert {"spread": "batch", "advantage_clip": 5, "window": "all", **expected}.items() <= dict(grpo.method).items()
    assert (grpo.policy.guidance, grpo.optim.lr, grpo.eval.steps, grpo.method.kl_form) == (4.5, 3e-4, 40, "code")
    expected = {"group_size": 18, "noise_level": 0.8, "sampler": "cps", "clip_range": 1e-5, "kl_weight": 0, "window": 3}
    expected |= {"window_place": "first_half", "shared_prefix": True, "steps": 10, "spread": "batch"}
    assert expected.items() <= dict(fast.method).items()
    assert (fast.policy.guidance, fast.prompts.pairs_per_epoch, fast.method.window_places) == (1, 64, 3)
    expected = {"group_size": 24, "beta": 1, "kl_weight": 1e-4, "old_decay_rate": 0.001, "old_decay_limit": 0.5}
    assert {"advantage_clip": 5, "time_density": "grid", **expected}.items() <= dict(nft.method).items()
    assert (nft.policy.guidance, nft.optim.updates_per_epoch, nft.optim.ema) == (1, 1, 0.9)
    assert nft.method.grid_times == range(9) and nft.method.trained_times == 9
    expected = {"weighting": "huber", "huber_power": 0.25, "clip_range": 1, "advantage_max": 1, "average_weight": 1}
    expected |= {"average_decay_rate": 0.001, "average_decay_limit": 0.3, "on_policy": True, "kl_weight": 1e-4}
    assert {"steps": 14, "group_size": 24, "trained_times": 6, **expected}.items() <= dict(awm.method).items()
    assert (awm.method.grid_times, awm.optim.updates_per_epoch, awm.optim.ema) == (range(12), 1, 0.99)
    assert {"form": "importance", "buffer_size": 32, "clip_range": 1e-4}.items() <= dict(ddpo.method).items()
    assert {"steps": 40, "late_share": 0.25, "weight": 1e-3}.items() <= dict(refl.method).items()
    assert {"last_steps": 1, "copies": None}.items() <= dict(draft.method).items()


def test_a_policy_that_is_not_evaluated_again_has_one_update_an_epoch():
    assert "method.on_policy=true holds for the first of optim.updates_per_epoch=2 alone" in problems(
        "shapes-awm", ["optim.updates_per_epoch=2"]
    )
    load_config("shapes-awm", ["optim.updates_per_epoch=2", "method.on_policy=false"])


def test_unknown_keys_do_not_hide_what_does_not_fit_together():
    with pytest.raises(ConfigError) as caught:
        load_config("shapes", ["method.stepz=3", "method.direction=score_gradient", "method.credit=step"])
    text = str(caught.value)
    assert "stepz" in text
    assert "credit=step has no meaning with direction=score_gradient" in text
