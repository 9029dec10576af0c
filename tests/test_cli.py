"""The command line as a user meets it: exit codes, messages without tracebacks, files that appear."""

import json
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from fdfo.cli import main
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


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: fdfo(monkeypatch, capsys, *arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "trained", "train.epochs=1")


def test_help_names_every_command(command):
    code, out, _ = command("--help")
    assert code == 0
    for name in ("train", "generate", "eval", "report", "export", "doctor"):
        assert name in out


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
    assert "4 of 8640 rows an epoch, 400 in all" in out
    assert "latent: 16 x 64 x 64" in out
    assert yaml.safe_load(out)["method"]["strength"] == 0.0025
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(None, "missing.txt"), (b"", "no prompts"), (b"\n \n", "no prompts"), (b"caf\xe9\n", "UTF-8")],
)
def test_unusable_prompt_files_are_explained(command, tmp_path, content, fragment):
    path = tmp_path / ("missing.txt" if content is None else "prompts.txt")
    if content is not None:
        path.write_bytes(content)
    code, _, err = command("train", "shapes-smoke", f"prompts.path={path}", "--run", tmp_path / "run")
    assert code == 1
    assert fragment in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_model_without_access_is_explained(command, tmp_path):
    code, _, err = command("train", "shapes", "policy.name=nobody/nothing", "--run", tmp_path / "run")
    assert code == 1
    assert "nobody/nothing" in err
    assert "Traceback" not in err


REWARDS = {
    "raises": ("raise KeyError('no such thing')", "no such thing"),
    "wrong shape": ("return images", "shape"),
    "too few": ("return [1.0]", "1"),
    "all failed": ("return [float('nan')] * len(prompts)", "max_failed_share"),
}


@pytest.mark.parametrize("case", REWARDS)
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
    assert "base above adapter" in out
    assert Image.open("a.png").size == (3 * 32, 4 * 32)


def test_generate_reads_a_file_and_needs_prompts(command, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red circle\n\na blue cross\n")
    code, _, _ = command("generate", "--file", "prompts.txt", "--model", "shapes", "--steps", 2, "--seeds", 1)
    assert code == 0
    assert Image.open("images.png").size == (32, 64)
    code, _, err = command("generate", "--model", "shapes")
    assert code == 2
    assert "give prompts" in err


def test_eval_compares_base_and_adapter(command, trained, tmp_path):
    code, out, err = command("eval", "--run", trained, "--count", 6, "--images", 2, "-o", "scores.json")
    assert code == 0, err
    assert "6 prompts x 2 images" in out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert len(scores["adapter"]["scores"]["shapes-verifier"]) == 12
    assert scores["base"]["scores"] != scores["adapter"]["scores"]


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
    code, _, err = command("export", trained, "--to", form, "-o", "out")
    assert code == 0, err
    assert (tmp_path / "out" / file).is_file()


def test_export_refuses_unknown_formats(command, trained):
    code, _, err = command("export", trained, "--to", "onnx", "--checkpoint", "first")
    assert code == 2
    assert "diffusers, merged" in err
    assert "best or latest" in err


def test_doctor_tries_one_pair(command):
    code, out, err = command("doctor")
    assert code == 0, err
    assert "shapes works: two 32 x 32 images" in out


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
