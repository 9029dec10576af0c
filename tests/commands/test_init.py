"""`fdfo init`: a recipe of one's own that validates, and the recipes of the embedded model kept to it."""

import io
import shlex
from pathlib import Path

import pytest
import yaml

from fdfo.config.load import load_config
from fdfo.errors import ConfigError, PromptError
from fdfo.planning.fetched import fetched
from fdfo.prompts import held_out_list, training_list
from fdfo.prompts.source import part
from fdfo.records import Prompt
from fdfo.shapes import PIPELINE
from tests.test_cli import fdfo

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "stable-diffusion-3.5.md"
START_SMALL = ("init first.yaml", "train first.yaml --dry-run")


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("\n".join(f"a red circle {n}" for n in range(10)) + "\n")
    (tmp_path / "warm.py").write_text("def warm(images, prompts, metadata):\n    return images.mean((1, 2, 3))\n")
    return lambda *arguments: fdfo(monkeypatch, capsys, *arguments)


def test_the_recipe_validates_and_its_dry_run_works(command):
    given = ("--model", "shapes", "--prompts", "mine.txt", "--reward", "warm.py:warm")
    code, out, err = command("init", "my.yaml", *given)
    assert code == 0, err
    assert "fdfo train my.yaml --dry-run" in out
    code, out, err = command("train", "my.yaml", "--dry-run")
    assert code == 0, err
    printed = yaml.safe_load(out)
    assert printed["prompts"]["path"] == "mine.txt"
    assert printed["prompts"]["eval_path"] is printed["prompts"]["eval_name"] is None  # a part of them is set aside
    assert printed["reward"][0]["name"] == "warm.py:warm"
    assert (printed["policy"]["dtype"], printed["train"]["epochs"]) == ("float32", 20)  # minutes on a laptop
    code, _, err = command("init", "my.yaml", *given)
    assert code == 2
    assert "my.yaml is there already; give another name" in err


def test_to_start_small_fetches_the_model_and_one_score(command, monkeypatch):
    """The page's lines, as they stand there."""
    monkeypatch.setattr("fdfo.planning.describe.describe", lambda config: "")  # seconds, and not asked here
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    init, dry_run = (next(line for line in lines if line.startswith(f"fdfo {what}")) for what in START_SMALL)
    Path("my_prompts.txt").write_text("a cat\na dog\n")
    assert command(*shlex.split(init)[1:])[0] == 0
    code, out, err = command(*shlex.split(dry_run, comments=True)[1:])
    assert code == 0, err
    assert yaml.safe_load(out)["fetches"] == [
        "model stabilityai/stable-diffusion-3.5-medium (policy.name)",
        "model yuvalkirstain/PickScore_v1 (reward.0, pickscore)",
        "model laion/CLIP-ViT-H-14-laion2B-s32B-b79K (reward.0, pickscore)",
    ]


def test_all_that_the_paper_s_setting_fetches_is_named():
    found = fetched(load_config("sd35-medium-paper"))
    for name in (
        "pickscore-train",
        "pickscore-test",
        "stable-diffusion-3.5-medium",
        "PickScore",
        "Qwen2.5-VL-7B",
        "HPSv2",
    ):
        assert any(name in line for line in found), name
    assert fetched(load_config("shapes")) == []
    assert fetched(load_config("shapes", ["reward=[{name: vlm-server, url: 'http://h:1/v1'}]"])) == []


def test_what_cannot_be_used_is_refused_before_anything_is_written(command, tmp_path):
    code, _, err = command("init", "my.yaml", "--model", "shapes", "--prompts", "gone.txt", "--reward", "jpge")
    assert code == 2
    assert "did you mean 'jpeg'?" in err
    code, _, err = command("init", "my.yaml", "--model", "shapes")
    assert code == 2
    assert "give --prompts, --reward" in err
    assert not (tmp_path / "my.yaml").exists()


@pytest.mark.parametrize("overrides", [["policy.name=me/mine", "prompts.path=mine.txt", "reward=[jpeg]"], {}])
def test_a_recipe_of_the_embedded_model_is_refused_for_another(command, tmp_path, overrides):
    source = "shapes"
    if not overrides:
        source = "based.yaml"
        (tmp_path / source).write_text("base: shapes\npolicy: {name: me/mine}\n")
    with pytest.raises(ConfigError, match=r"fdfo init my\.yaml --model me/mine --prompts FILE --reward NAME"):
        load_config(source, overrides)


def test_a_model_of_the_embedded_world_is_at_home_in_its_recipes(tmp_path):
    (tmp_path / "again").symlink_to(PIPELINE)
    assert load_config("shapes", [f"policy.name={tmp_path}/again"]).prompts.eval_name == "shapes-validation"
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="write one for yours"):
        load_config("shapes", [f"policy.name={tmp_path}/other"])


def test_what_is_not_given_is_asked_for_where_someone_can_answer(command, tmp_path, monkeypatch):
    answers = io.StringIO("mine.txt\nwarm.py:warm\n")
    answers.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", answers)
    code, out, err = command("init", "--model", "shapes")
    assert code == 0, err
    assert out.index("Prompts (a file") < out.index("Score (a name")
    assert yaml.safe_load((tmp_path / "my.yaml").read_text())["reward"] == ["warm.py:warm"]


def test_another_model_is_judged_on_a_part_of_its_own_prompts(tmp_path):
    (tmp_path / "mine.txt").write_text("\n".join(f"a red circle {n}" for n in range(10)) + "\n")
    settings = load_config("own", ["policy.name=me/mine", "reward=[jpeg]", f"prompts.path={tmp_path}/mine.txt"]).prompts
    assert [prompt.text for prompt in held_out_list(settings, 32)] == ["a red circle 0", "a red circle 5"]
    assert len(training_list(settings, 32)) == 8


def test_the_neutral_recipe_asks_for_all_that_it_needs():
    with pytest.raises(ConfigError) as caught:
        load_config("own")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["prompts", "policy.name", "reward"]


def test_prompts_that_are_set_aside_are_never_trained_on():
    prompts = [Prompt(text=f"p{n % 40}", number=n) for n in range(50)]  # ten texts stand twice
    training, held_out = part(prompts, 32)
    assert len(held_out) == 8
    assert not {prompt.text for prompt in held_out} & {prompt.text for prompt in training}
    assert {prompt.text for prompt in held_out} | {prompt.text for prompt in training} == {p.text for p in prompts}
    assert len(part(prompts, 3)[1]) == 3
    with pytest.raises(PromptError, match=r"give prompts\.eval_path"):
        part([Prompt(text="a"), Prompt(text="a")], 3)
