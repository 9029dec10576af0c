"""The command line as a user meets it: exit codes, messages without tracebacks, files that appear."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from diffusers import StableDiffusion3Pipeline
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from PIL import Image

from fdfo.cli import main
from fdfo.commands.doctor import _hub
from fdfo.commands.protocol import PRESETS
from fdfo.config.load import recipe_names
from fdfo.drawing import BATCH
from fdfo.errors import PeerError
from fdfo.evaluation.captions import _path_for
from fdfo.evaluation.protocol import PAPER
from fdfo.hub import quiet_loading
from tests.nightly import by_day
from tests.training.runs import TINY, run


def fdfo(monkeypatch, capsys, *arguments):
    """Run a command in this process: (exit code, standard output, standard error)."""
    monkeypatch.setattr(sys, "argv", ["fdfo", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            f"policy.adapter.targets={'a' * 4000}",
            r"policy.adapter.targets='a{79}\.\.\.: it matches .* its linear layers: ",
        ),
        ("eval.policy=inf", r"eval.policy=inf: no such folder, and a hub id looks like OWNER/NAME"),
        (f"policy.name={'a' * 300}", r"policy.name=a{300}: no such folder"),
        (f"policy.adapter.start={'a' * 300}", r"adapter a{300}: no such file or folder"),
    ],
)
def test_what_only_the_model_can_refuse_is_of_the_configuration_as_well(monkeypatch, capsys, override, says):
    code, _, error = fdfo(monkeypatch, capsys, "train", "shapes-smoke", override, "--dry-run")
    assert code == 2
    assert re.search(says, error)


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: fdfo(monkeypatch, capsys, *arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "trained", "train.epochs=1")


def test_help_names_every_command(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = command("--help")
    assert code == 0
    for name in (
        "train",
        "init",
        "generate",
        "eval",
        "report",
        "compare",
        "probe",
        "export",
        "push",
        "doctor",
        "serve-reward",
        "studio",
        "rewards",
        "choices",
    ):
        assert name in out
    assert "..." not in out.partition("Commands:")[2]


def test_the_help_of_train_names_every_recipe(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = command("train", "--help")
    lines = out[out.index("Recipes (or") :].splitlines()[1:]
    assert code == 0 and len(lines) < 10 and max(map(len, lines)) <= 80
    told = set()
    for line in " ".join(line if line.startswith("    ") else f"\n{line}" for line in lines).splitlines():
        start, _, names = line.strip().rpartition(": ")
        told |= {f"{start}{name.strip()}" for name in names.split(",")}
    assert told - {""} == set(recipe_names())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", "my.yaml", "--epochs", "3"), "--epochs; settings are words: train.epochs=3"),
        (("train", "--lr=1e-4"), "--lr; settings are words: optim.lr=1e-4"),
        (("train", "--micro-batch", "2"), "--micro-batch; settings are words: train.micro_batch=2"),
        (("train", "--policy.dtype", "float32"), "--policy.dtype; settings are words: policy.dtype=float32"),
        (("train", "--policy.rank", "4"), "--policy.rank; settings are words: policy.adapter.rank=4"),
        (("train", "--steps", "--dry-run"), "--steps; settings are words: eval.steps=... or method.steps=..."),
        (("train", "--reward", "[{name: a}]"), "--reward; settings are words: 'reward=[{name: a}]'"),
        (("train", "--frob"), "--frob; settings are words, as key=value"),
        (("compare", "--seeds", "3"), "--seeds; settings are words: seeds=3"),
        (("probe", "--methods", "fdfo"), "--methods; settings are words: methods=fdfo"),
        (("rewards", "check", "clip", "--image_size", "4"), "--image_size; settings are words: image_size=4"),
        (("serve-reward", "clip", "--image_size", "4"), "--image_size; settings are words: image_size=4"),
    ],
)
def test_a_setting_that_is_given_as_an_option_is_told_as_a_word(command, arguments, told):
    code, _, err = command(*arguments)
    assert code == 2
    assert err.endswith(f"Error: No such option: {told}\n")


def test_an_option_of_a_near_name_is_told_by_the_library_of_commands(command):
    code, _, err = command("train", "--proces", "2")
    assert code == 2 and "--processes" in err and "words" not in err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (PeerError("another process failed"), 1, ""),
        (PermissionError(13, "Permission denied", "/root/x"), 1, "error: /root/x: Permission denied\n"),
        (OSError("no reason"), 1, "error: no reason\n"),
    ],
)
def test_no_error_is_a_traceback(command, monkeypatch, error, code, text):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("fdfo.commands.train.load_config", fail)
    assert command("train") == (code, "loading ...\n", text)


def test_configuration_errors_exit_with_2_before_a_model_loads(command, monkeypatch):
    monkeypatch.setattr("fdfo.models.load.load_policy", lambda *_, **__: pytest.fail("a model was loaded"))
    code, _, err = command("train", "shapes", "optim.lr=fast", "method.stepz=3")
    assert code == 2
    assert "2 problems in shapes" in err
    assert "did you mean 'steps'?" in err
    assert "Traceback" not in err


def test_dry_run_prints_the_tree_and_the_arithmetic_and_writes_nothing(command, tmp_path):
    code, out, _ = command("train", "sd35-medium-paper", "--dry-run")
    assert code == 0
    assert "432 prompts x 2 = 864" in out
    assert "34560 network evaluations (forward)" in out
    assert "4 of 8,640 rows an epoch, 400 in all" in out
    assert "latent: 16 x 64 x 64" in out
    printed = yaml.safe_load(out)
    assert printed["method"]["strength"] == 0.0025
    assert "it fits a card of" in printed["memory"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(None, "missing.txt"), (b"", "no prompts"), (b"\n \n", "no prompts"), (b"caf\xe9\n", "UTF-8")],
)
def test_unusable_prompt_files_are_explained(command, tmp_path, content, fragment):
    path = tmp_path / ("missing.txt" if content is None else "prompts.txt")
    if content is not None:
        path.write_bytes(content)
    for extra in (["--run", tmp_path / "run"], ["--dry-run"]):
        code, _, err = command("train", "shapes-smoke", f"prompts.path={path}", "policy.resolution=[31, 32]", *extra)
        assert code == 2
        assert fragment in err
        assert ("policy.resolution" in err) == (content is not None)  # what is not there is told before a model is read
        assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_model_without_access_is_explained(command, tmp_path):
    (tmp_path / "mine.txt").write_text("a red circle\n")
    given = ("policy.name=nobody/nothing", "policy.resolution=[32, 32]", "prompts.path=mine.txt", "reward=[jpeg]")
    code, _, err = command("train", "own", *given, "prompts.eval_path=mine.txt", "--run", tmp_path / "run")
    assert code == 1, err
    assert "nobody/nothing" in err
    assert "Traceback" not in err


def test_training_reads_the_named_column_of_a_table_and_says_what_it_left_out(command, tmp_path):
    (tmp_path / "mine.CSV").write_text("no,words,category\n1,a red circle,3\n\n2,a blue cross,4\n")
    given = ("train", "shapes-smoke", *TINY, "prompts.key=words", "train.epochs=1")
    code, out, err = command(*given, "prompts.path=mine.CSV", "prompts.eval_path=mine.CSV", "--run", "run")
    assert code == 0, err
    assert "mine.CSV: 1 blank line skipped" in out
    record = json.loads((tmp_path / "run" / "evaluations" / "epoch-0000001.json").read_text())
    assert (record["prompts"], record["categories"]) == (["a red circle", "a blue cross"], ["3", "4"])
    (tmp_path / "plain.txt").write_text("a red circle\n")
    code, _, err = command(*given, "prompts.path=plain.txt", "--dry-run")
    assert code == 2
    assert "prompts.key=words: no prompt file has columns; remove it" in err


def test_generate_and_eval_read_the_named_column(command, tmp_path):
    (tmp_path / "mine.json").write_text('[{"words": "a red circle", "category": ["a", 3]}]')
    model = ("--model", "shapes", "--steps", 1, "--key", "words")
    code, out, err = command("generate", "--file", "mine.json", *model, "--seeds", 1)
    assert code == 0, err
    assert "1 prompt," in out
    code, out, err = command("eval", "--prompts", "mine.json", "--rewards", "jpeg", *model)
    assert code == 0, err
    assert '["a", 3]' in out


REWARDS = {
    "raises": ("raise KeyError('no such thing')", "no such thing"),
    "wrong shape": ("return images", "shape"),
    "too few": ("return [1.0]", "1"),
    "all failed": ("return [float('nan')] * len(prompts)", "max_failed_share"),
}


@pytest.mark.parametrize("case", by_day({"raises"}, REWARDS))
def test_broken_rewards_stop_the_run_with_their_name(command, tmp_path, case):
    body, fragment = REWARDS[case]
    (tmp_path / "mine.py").write_text(f"def score(images, prompts, metadata):\n    {body}\n")
    overrides = [*TINY, "reward=[{name: mine.py:score}]", "eval.every=100"]
    code, out, err = command("train", "shapes-smoke", *overrides, "--run", "run")
    assert code == 1, out
    assert "mine.py:score" in err
    assert fragment in err
    assert "Traceback" not in err


def test_integer_and_partly_failed_scores_are_accepted_and_counted(command, tmp_path):
    body = "return [float('nan') if i == 0 else 1 + i % 3 for i in range(len(prompts))]"
    (tmp_path / "mine.py").write_text(f"def score(images, prompts, metadata):\n    {body}\n")
    overrides = [*TINY, "reward=[{name: mine.py:score}]", "train.max_failed_share=0.5", "train.epochs=1"]
    code, _, err = command("train", "shapes-smoke", *overrides, "--run", "run")
    assert code == 0, err
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (rollout,) = [event for event in events if event["event"] == "rollout"]
    assert (rollout["failed"], rollout["dropped_groups"]) == (1, 1)


def test_generate_draws_base_above_adapter(command, trained):
    code, out, err = command(
        "generate", "a red circle", "two {blue} squares", "--run", trained, "--seeds", 3, "-o", "a.png"
    )
    assert code == 0, err
    assert "base above trained" in out
    assert f"checkpoint epoch-0000001 of {trained}" in out
    width, height = picture_size("a.png")
    assert 3 * 128 < width < 4 * 128 and 4 * 128 < height < 5 * 128  # 32 pixels each, enlarged, with labels


def test_generate_draws_adapters_at_strengths_and_says_how(command, trained, tmp_path):
    checkpoint = trained / "checkpoints" / "epoch-0000001"
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    adapters = ("--model", "shapes", "--adapter", checkpoint, "--adapter", other)
    options = ("--seeds", 2, "--steps", 1, "--strength", "0.5,1", "-o", "a.png")
    code, out, err = command("generate", "a rouge círculo ●", *adapters, *options)
    assert code == 0, err
    rows = ["base", "epoch-0000001 at 0.5", "epoch-0000001 at 1", "other at 0.5", "other at 1"]
    assert " above ".join(rows) in out
    with Image.open("a.png") as picture:
        settings = json.loads(picture.text["fdfo"])
        assert 5 * 128 < picture.height < 6 * 128
    assert settings["prompts"] == ["a rouge círculo ●"]
    assert (settings["strengths"], settings["seeds"], settings["steps"]) == ([0.5, 1.0], [0, 1], 1)
    assert settings["model"]["name"] == "shapes" and settings["model"]["guidance"] == 1.0
    assert {name: one["folder"] for name, one in settings["adapters"].items()} == {
        "epoch-0000001": str(checkpoint),
        "other": str(other),
    }


def test_generate_draws_from_the_noise_of_a_seed_and_says_which(command):
    drawn = []
    for seed in (0, 3, 3):
        command("generate", "a circle", "--model", "shapes", "--seeds", 1, "--steps", 1, "--seed", seed, "-o", "a.png")
        with Image.open("a.png") as picture:
            assert json.loads(picture.text["fdfo"])["noise_seed"] == seed
            drawn.append(picture.tobytes())
    assert drawn[1] == drawn[2] != drawn[0]


@pytest.mark.parametrize("strength", ["half", "1,", "inf", "nan", "1e308", "-101", ""])
def test_a_strength_is_numbers_and_somebodys(command, monkeypatch, strength):
    monkeypatch.setattr("fdfo.models.load.load_policy", lambda *_, **__: pytest.fail("a model was loaded"))
    code, _, err = command("generate", "a red circle", "--model", "shapes", "--strength", strength)
    assert code == 2
    assert f"--strength {strength}: expected numbers" in err
    code, _, err = command("generate", "a red circle", "--model", "shapes", "--strength", 0.5)
    assert code == 2
    assert "--strength: give --adapter or --run" in err


DRAW, JUDGE = ("generate", "a red circle"), ("eval", "--rewards", "jpeg", "--prompts", "shapes-test")


@pytest.mark.parametrize(
    ("arguments", "output", "reason"),
    [
        (DRAW, "file/a.png", "file is a file, not a folder"),
        (JUDGE, "file/a", "file is a file, not a folder"),
        (JUDGE, "folder", "not an evaluation folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_a_model_loads(
    command, monkeypatch, tmp_path, arguments, output, reason
):
    monkeypatch.setattr("fdfo.models.load.load_policy", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").touch()
    code, _, err = command(*arguments, "--model", "shapes", "-o", output)
    assert code == 2
    assert f"--output {output}" in err
    assert reason in err


def test_generate_writes_what_the_suffix_says_or_refuses_it(command, monkeypatch):
    options = ("generate", "a red circle", "--model", "shapes", "--steps", 1, "--seeds", 1)
    code, _, err = command(*options, "-o", "a.JPG")
    assert code == 0, err
    with Image.open("a.JPG") as picture:
        assert picture.format == "JPEG"
    monkeypatch.setattr("fdfo.models.load.load_policy", lambda *_, **__: pytest.fail("a model was loaded"))
    code, _, err = command(*options, "-o", "a.gif")
    assert code == 2
    assert "--output a.gif: expected a name that ends in .png, .jpg, .jpeg, or of a folder" in err


def test_generate_writes_the_prompts_beside_that_no_font_can_write(command, monkeypatch, tmp_path):
    monkeypatch.setattr("fdfo.evaluation.captions._installed", lambda: ())
    _path_for.cache_clear()
    options = ("--model", "shapes", "--steps", 1, "--seeds", 1, "-o", "a.png")
    code, out, err = command("generate", "a red circle", "ein großer Kreis", *options)
    _path_for.cache_clear()
    assert code == 0, err
    assert "wrote a.prompts.txt: the prompts that no font here can write" in out
    assert (tmp_path / "a.prompts.txt").read_text(encoding="utf-8") == "2\tein großer Kreis\n"


def test_generate_checks_the_guidance(command):
    code, _, err = command("generate", "a red circle", "--guidance", "0")
    assert code == 2
    assert "--guidance 0" in err
    assert "--run FOLDER" in err


def test_generate_and_eval_draw_at_a_resolution_that_the_model_allows(command, tmp_path):
    task = ("--rewards", "jpeg", "--prompts", "shapes-test", "--count", 1)
    for arguments in (("generate", "a red circle", "--seeds", 1, "-o", "a.png"), ("eval", *task, "-o", "judged")):
        options = (*arguments, "--model", "shapes", "--steps", 1, "--resolution")
        code, _, err = command(*options, 20)
        assert code == 2
        assert err.count("20") == 1 and "--resolution 20 is not a multiple of 8; use 16 or 24" in err
        code, out, err = command(*options, 16)
        assert code == 0, err
        assert arguments[0] == "eval" or "16 x 16 pixels each" in out
    assert json.loads((tmp_path / "judged" / "manifest.json").read_text())["model"]["resolution"] == [16, 16]


def test_generate_reads_a_file_and_needs_prompts(command, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red circle\n\na blue cross\n")
    output = ("-o", "new/images.png")
    code, _, _ = command("generate", "--file", "prompts.txt", "--model", "shapes", "--steps", 2, "--seeds", 1, *output)
    assert code == 0
    width, height = picture_size("new/images.png")
    assert 128 < width < 2 * 128 and 2 * 128 < height < 3 * 128
    code, _, err = command("generate", "--model", "shapes")
    assert code == 2
    assert "give prompts" in err


def test_eval_compares_base_and_adapter(command, trained, tmp_path):
    options = ("eval", "--run", trained, "--count", 6, "--images", 2, "-o", "judged", "--keep-images")
    code, out, err = command(*options)
    assert code == 0, err
    assert "6 prompts x 2 images" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("checkpoint ")) <= 80
    assert "checkpoint epoch-0000001" in out
    with (tmp_path / "judged" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["weights"] for row in rows] == ["base"] * 12 + ["adapter"] * 12
    assert [row["shapes-verifier"] for row in rows[:12]] != [row["shapes-verifier"] for row in rows[12:]]
    assert len(list((tmp_path / "judged" / "images" / "adapter").glob("*.png"))) == 12
    assert command(*options)[1] == out  # from what is kept


def test_eval_measures_the_distance_to_the_base(command, trained, tmp_path):
    options = ("eval", "--run", trained, "--count", 6, "--distance", "pixels")
    code, out, err = command(*options, "-o", "judged")
    assert code == 0, err
    assert "adapter to base, 6 images each, in features of pixels: KID" in out
    assert json.loads((tmp_path / "judged" / "distances.json").read_text())["adapter"]["images"] == 6
    assert "(std" not in out  # 6 images have one subset
    code, _, err = command(*options)
    assert code == 2
    assert "give --output FOLDER" in err
    code, _, err = command("eval", "--model", "shapes", "--rewards", "jpeg", "--prompts", "shapes-test", *options[-2:])
    assert code == 2
    assert "give --adapter or --run" in err


@pytest.mark.slow
def test_images_that_were_not_kept_are_drawn_again_for_a_distance(command, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(BATCH, "cpu", 2)
    options = ("eval", "--run", trained, "--count", 5, "--output", "judged")
    assert command(*options)[0] == 0
    before = (tmp_path / "judged" / "scores.csv").read_text()
    code, out, err = command(*options, "--distance", "pixels")
    assert code == 0, err
    assert "adapter to base, 5 images each" in out
    assert (tmp_path / "judged" / "scores.csv").read_text() == before


@pytest.mark.slow
def test_eval_goes_on_after_an_interruption(command, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(BATCH, "cpu", 2)
    options = ("eval", "--run", trained, "--count", 6)
    assert command(*options, "-o", "whole")[0] == 0
    assert command(*options, "-o", "stopped")[0] == 0
    (part,) = (tmp_path / "stopped").glob("adapter.*.jsonl")
    lines = part.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:3]) + lines[3][:20])  # as a kill leaves it
    assert command(*options, "-o", "stopped")[0] == 0
    for name in ("scores.csv", "summary.csv", "summary.md"):
        assert (tmp_path / "stopped" / name).read_text() == (tmp_path / "whole" / name).read_text()
    code, _, err = command(*options, "-o", "stopped", "--seed", 1)
    assert code == 2
    assert "which differs in seed" in err


@pytest.mark.slow
def test_eval_of_two_adapters(command, trained, tmp_path):
    checkpoint = trained / "checkpoints" / "epoch-0000001"
    shutil.copytree(checkpoint, tmp_path / "copy")
    adapters = ("--adapter", checkpoint, "--adapter", tmp_path / "copy")
    options = ("--rewards", "jpeg", "--prompts", "shapes-test", "--count", 3)
    code, out, err = command("eval", "--model", "shapes", *adapters, *options)
    assert code == 0, err
    tables = out.split("score")
    assert "epoch-0000001" in tables[1]
    assert "copy" in tables[2]


def test_a_preset_prints_published_values_beside_ours(command, trained, tmp_path, monkeypatch):
    part = replace(PAPER[0], prompts="shapes-test", count=3, rewards="jpeg", published={"jpeg": -1.5})
    monkeypatch.setitem(PRESETS, "paper", (part,))
    monkeypatch.setattr("fdfo.commands.protocol.RESOLUTION", 32)
    code, out, err = command("eval", "--preset", "paper", "--run", trained, "--output", "judged")
    assert code == 0, err
    line = next(line for line in out.splitlines() if line.startswith("  jpeg"))
    assert line.split()[:2] == ["jpeg", "-1.5"]
    assert {"base", "adapter"} <= set(line.split())
    assert (tmp_path / "judged" / "pickscore" / "report.html").is_file()
    code, _, err = command("eval", "--preset", "papre", "--run", trained)
    assert code == 2
    assert "did you mean 'paper'?" in err
    assert "--output" in err


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("--rewards", "jpeg"), "--run FOLDER"),
        (("--model", "shapes", "--rewards", "jpge", "--prompts", "shapes-test"), "did you mean 'jpeg'?"),
        (("--model", "shapes", "--rewards", "jpeg", "--prompts", "nowhere.txt"), "nowhere.txt"),
        (("--run", "nowhere"), "not a run folder"),
    ],
)
def test_eval_explains_what_is_missing(command, arguments, fragment):
    code, _, err = command("eval", *arguments)
    assert code in (1, 2)
    assert fragment in err


@pytest.mark.parametrize(
    ("form", "file"), [("diffusers", "pytorch_lora_weights.safetensors"), ("merged", "model_index.json")]
)
def test_export_writes_what_it_says(command, trained, form, file, tmp_path):
    code, out, err = command("export", trained, "--to", form, "-o", "out")
    assert code == 0, err
    assert "epoch-0000001" in out
    assert (tmp_path / "out" / file).is_file()


def test_export_refuses_unknown_formats(command, trained):
    code, _, err = command("export", trained, "--to", "onnx")
    assert code == 2
    assert "diffusers, comfyui, kohya, merged" in err


def test_export_takes_the_named_checkpoint_or_says_which_there_are(command, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "best").write_text("epoch-0000001\n")
    code, out, err = command("export", "run", "--checkpoint", "epoch-0000001", "-o", "named")
    assert code == 0, err
    assert "from checkpoint epoch-0000001" in out
    for wanted in ("epoch-0000080", "first", "../checkpoints/epoch-0000001", ""):
        code, _, err = command("export", "run", "--checkpoint", wanted, "-o", "none")
        assert code == 1
        assert f"--checkpoint {wanted}: no such checkpoint" in err
        assert "there are: best, latest, epoch-0000001" in err
    (tmp_path / "run" / "checkpoints" / "best").unlink()
    code, _, err = command("export", "run", "--checkpoint", "best", "-o", "none")
    assert code == 1
    assert "--checkpoint best: no such checkpoint" in err
    assert not (tmp_path / "none").exists()
    code, out, err = command("export", "run", "-o", "latest")
    assert code == 0, err
    assert "no checkpoint is marked as the best one: taking the latest" in out


def test_a_merged_folder_of_a_run_without_t5_is_loaded_by_plain_diffusers(command, trained, tmp_path):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    config["policy"]["t5"] = False
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    code, out, err = command("export", "run", "--to", "merged", "-o", "out")
    assert code == 0, err
    assert "the run left T5 out: give diffusers text_encoder_3=None and tokenizer_3=None to draw as it did" in out
    with quiet_loading():
        pipeline = StableDiffusion3Pipeline.from_pretrained(tmp_path / "out")
        assert pipeline.text_encoder_3 is not None
        without = StableDiffusion3Pipeline.from_pretrained(tmp_path / "out", text_encoder_3=None, tokenizer_3=None)
    assert without.text_encoder_3 is None


@pytest.mark.parametrize("is_named", [False, True])
def test_a_run_of_a_folder_without_t5_is_exported(command, trained, tmp_path, is_named):
    from fdfo.shapes import PIPELINE

    with quiet_loading():
        whole = StableDiffusion3Pipeline.from_pretrained(PIPELINE, text_encoder_3=None, tokenizer_3=None)
        whole.save_pretrained(tmp_path / "model")
    if is_named:
        shutil.copy(PIPELINE / "model_index.json", tmp_path / "model")
    config = yaml.safe_load((trained / "config.yaml").read_text())
    config["policy"] |= {"name": str(tmp_path / "model"), "t5": False, "resolution": [32, 32]}
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    code, _, err = command("export", "run", "-o", "lora")
    assert code == 0, err
    assert (tmp_path / "lora" / "pytorch_lora_weights.safetensors").is_file()
    code, out, err = command("export", "run", "--to", "merged", "-o", "out")
    assert code == 0, err
    assert "give diffusers text_encoder_3=None and tokenizer_3=None" in out
    with quiet_loading():
        drawn = StableDiffusion3Pipeline.from_pretrained(tmp_path / "out", text_encoder_3=None, tokenizer_3=None)
    assert drawn.text_encoder_3 is None


def test_export_refuses_a_lora_file_of_all_weights_before_anything_loads(command, trained, tmp_path):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    config["policy"]["adapter"]["kind"] = "full"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.yaml").write_text(yaml.safe_dump(config))
    code, _, err = command("export", "full")
    assert code == 2
    assert "use --to merged" in err
    assert not (tmp_path / "full" / "export").exists()


def test_doctor_tries_one_pair(command):
    code, out, err = command("doctor")
    assert code == 0, err
    assert "shapes works: two 32 x 32 images, scored, and a gradient" in out


@pytest.mark.parametrize(
    ("error", "token", "finding"),
    [
        (
            GatedRepoError,
            None,
            "not logged in; a/b is gated: accept its licence at https://huggingface.co/a/b, then run",
        ),
        (GatedRepoError, "hf_x", "logged in; a/b is gated: accept its licence at https://huggingface.co/a/b"),
        (RepositoryNotFoundError, None, "not logged in; no access to a/b"),
        (ConnectionError, "hf_x", "logged in; not reachable (ConnectionError)"),
        (None, "hf_x", "logged in; a/b can be downloaded"),
    ],
)
def test_doctor_says_what_the_hub_allows(monkeypatch, error, token, finding):
    def answer(*_, **__):
        if error is not None:
            raise error("no") if error is ConnectionError else error("no", response=MagicMock(headers={}))

    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.HfApi.auth_check", answer)
    assert _hub("a/b").startswith(finding)


def test_report_of_two_runs(command, trained):
    code, out, err = command("report", trained, trained, "-o", "both.html")
    assert code == 0, err
    assert "both.html" in out


def test_importing_fdfo_is_fast():
    code = "import time; t = time.perf_counter(); import fdfo; print(time.perf_counter() - t)"
    best = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout) for _ in range(3)
    )
    assert best < 0.2


def test_a_model_that_does_not_fit_is_told_in_one_line(command, monkeypatch, tmp_path):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore lines")

    monkeypatch.setattr("fdfo.training.setup.policy_from_config", full)
    code, _, err = command("train", "shapes-smoke", "--run", tmp_path / "run")
    assert code == 1
    assert "CUDA out of memory. Tried to allocate 2.00 GiB." in err
    assert "Traceback" not in err and "more lines" not in err
