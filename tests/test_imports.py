"""What is told before anything heavy is imported: all of it in one process, which imports torch for nothing."""

import subprocess
import sys

from fdfo.config.load import load_config, recipe_names
from fdfo.plugins import BUILT_IN, SETTINGS, find, method_of, settings_of

LIGHT = """
import sys
from fdfo.cli import main
for arguments in (
    ["--help"],
    ["train", "shapes", "optim.lrr=1"],
    ["train", "shapes", "method.stepz=1", "reward=[jpge]"],
    ["train", "sd35-nft", "method.steps=few"],
    ["train", "shapes", "reward=[jpge]"],
    ["train", "shapes", "eval.rewards=[none.py:score]"],
    ["train", "shapes", "prompts.path=none.txt"],
    ["train", "shapes", "prompts.name=shapes-trian"],
    ["train", "shapes", "policy.name=me/mine"],
    ["train", "own"],
    ["train", "shapes", "method.steps=6", "method.trained_times=all", "optim.updates_per_epoch=4"],
    ["train", "shapes-draft", "method.copies=2", "method.last_steps=1", "optim.updates_per_epoch=3"],
    ["train", "shapes", "policy.name=shape"],
    ["train", "shapes", "eval.policy=me/sibling", "policy.adapter.kind=full"],
    ["train", "shapes", "eval.rewards=[{name: jpeg, label: diversity}]"],
    ["eval", "--model", "shapes", "--rewards", "clip,jpge"],
    ["init", "my.yaml", "--model", "me/mine", "--prompts", "mine.txt", "--reward", "pickscore"],
):
    sys.argv = ["fdfo", *arguments]
    try:
        main()
    except SystemExit as stop:
        print("ended with", stop.code)
heavy = {"torch", "numpy", "diffusers", "transformers", "peft", "accelerate", "matplotlib", "PIL"}
print("imported", sorted(heavy & set(sys.modules)))
"""


COMBINED = (
    "does not divide the 6 trained times",
    "does not divide the 2 trained times",
    "policy.name=shape: no such folder",
    "eval.policy needs policy.adapter.kind=lora",
    "'diversity' stands for something else",
)


def test_mistakes_and_help_and_init_import_nothing_heavy(tmp_path):
    (tmp_path / "mine.txt").write_text("a cat\na dog\n")
    ended = subprocess.run([sys.executable, "-c", LIGHT], cwd=tmp_path, capture_output=True, text=True)
    assert [line for line in ended.stdout.splitlines() if line.startswith("ended")] == [
        "ended with 0",
        *["ended with 2"] * 15,
        "ended with 0",
    ], ended.stderr
    assert ended.stdout.splitlines()[-1] == "imported []"
    for told in (
        "did you mean 'lr'?",
        "did you mean 'jpeg'?",
        "did you mean 'steps'?",
        "fdfo init",
        "got 'few'",
        *COMBINED,
    ):
        assert told in ended.stderr
    assert (tmp_path / "my.yaml").is_file()


def test_the_settings_that_are_read_alone_are_those_of_the_methods():
    assert SETTINGS.keys() == BUILT_IN["methods"].keys()
    assert all(settings_of(name) is find("methods", name).Config for name in SETTINGS)


def test_the_times_that_settings_tell_are_those_that_their_methods_train_on():
    for recipe in recipe_names():
        if recipe != "own":
            config = load_config(recipe)
            assert config.method.num_trained == method_of(config.method).trained_times
