"""A policy of a file, `policy.name=tiny.py:Tiny`: in whole runs, in every command, and broken in every way."""

import re
from pathlib import Path

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.errors import ConfigError, ModelError
from fdfo.models.load import configured_policy
from fdfo.planning.batches import ON_CPU, chosen_batches
from fdfo.records import Conditioning
from fdfo.training.distributed import this_team
from fdfo.training.inputs import model_digests
from fdfo.training.loop import train
from fdfo.training.setup import _new_folder
from tests.guard.leaks import IMPORTS, TOGETHER, everything
from tests.test_cli import fdfo
from tests.training.runs import adapter, largest_difference

PAGE = Path(__file__).parents[2] / "docs/how-to/your-own-parts.md"
(TINY,) = re.findall(r'^```python title="tiny.py"\n(.*?)^```', PAGE.read_text(encoding="utf-8"), re.M | re.S)
SMALL = (
    *("prompts.name=shapes-train", "prompts.pairs_per_epoch=4", "method.steps=3", "optim.updates_per_epoch=1"),
    *("reward=[jpeg]", "eval.prompts=4", "eval.every=2", "eval.steps=2", "train.epochs=2", "train.checkpoint_every=1"),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def trained(file):
    return train(config_of(file), file.parent / "run")


def config_of(path, *overrides, name="Tiny"):
    return load_config("own", [f"policy.name={path}:{name}", *SMALL, *overrides])


def test_a_run_goes_on_to_the_same_weights_to_the_bit(file, trained, tmp_path):
    halved = tmp_path / "run"
    train(config_of(file, "train.epochs=1"), halved)
    after_one = adapter(halved)
    train(config_of(file), halved)
    assert largest_difference(halved, trained) == 0
    assert any(not torch.equal(value, after_one[name]) for name, value in adapter(halved).items())
    assert (trained / "report.html").is_file()


def test_its_frozen_weights_are_drawn_alike_wherever_random_numbers_stand(tmp_path):
    made = []
    for seed in (1, 2):
        path = tmp_path / f"tiny{seed}.py"
        path.write_text(f"{TINY}\ntorch.manual_seed({seed})\n")
        made.append(configured_policy(config_of(path).policy, adapter=None, device="cpu").weights.network.state_dict())
    torch.testing.assert_close(*made, rtol=0, atol=0)


def test_all_of_its_weights_can_be_trained(file, tmp_path):
    run = train(config_of(file, "policy.adapter.kind=full", "train.epochs=1"), tmp_path / "run")
    assert adapter(run).keys() == {"hidden.weight", "hidden.bias", "out.weight", "out.bias"}


def test_no_batch_is_planned_for_it(file):
    config = config_of(file)
    assert config.train.micro_batch == config.train.sample_batch == "auto"
    assert chosen_batches(config, torch.device("cuda"), free=2**30) == ON_CPU


def test_a_run_is_not_continued_over_other_code(file, trained):
    assert model_digests(f"{file}:Tiny", None, {}).keys() == {f"code {file}"}  # as `eval --output` has them
    file.write_text(TINY + "\n# another\n")
    try:
        with pytest.raises(ConfigError, match=f"code {file} is not what the run began with"):
            train(config_of(file, "train.epochs=3"), trained)
    finally:
        file.write_text(TINY)


def test_what_it_leaves_behind_changes_nothing(file, trained, tmp_path):
    own = [
        ("            return network(", "            v = network(", ["x.add_(1)", *TOGETHER, "return v"]),
        ("        taken, self.use", "        taken, self.use", TOGETHER),
        ("        return shifted_grid(", "        times = shifted_grid(", [*TOGETHER, "return times"]),
    ]
    vandal = IMPORTS + "\n".join(TOGETHER) + "\n" + TINY
    for before, after, more in own:
        (line,) = (line for line in TINY.splitlines() if line.startswith(before))
        indent = " " * (len(line) - len(line.lstrip()))
        vandal = vandal.replace(line, "\n".join([line.replace(before, after), *(indent + code for code in more)]))
    (tmp_path / "tiny.py").write_text(vandal)
    before = everything()
    other = train(config_of(tmp_path / "tiny.py"), tmp_path / "run")
    assert everything() == before
    assert largest_difference(other, trained) == 0


def test_every_command_does_it_or_says_that_it_cannot(file, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def told(*arguments):
        code, out, error = fdfo(monkeypatch, capsys, *arguments)
        return code, " ".join((out + error).split())

    code, out = told("train", "own", f"policy.name={file}:Tiny", *SMALL, "--dry-run")
    assert code == 0 and f"nothing is known of the memory of {file}:Tiny" in out and "as its file makes it" in out
    assert told("generate", "a red circle", "--run", trained, "-o", "sheet.png", "--steps", 2)[0] == 0
    assert told("eval", "--run", trained, "--count", 2, "--steps", 2)[0] == 0
    code, out = told("export", trained)
    assert code == 1 and "Tiny' has no save_lora: add it" in out and "checkpoints hold its weights" in out
    code, out = told("export", trained, "--card")
    assert code == 2 and "--card describes a pipeline of diffusers" in out
    code, out = told("train", "own", f"policy.name={file}:Tiny", *SMALL, "eval.guidance=2", "--dry-run")
    assert code == 2 and "one of a file is judged as it is trained" in out
    code, out = told("doctor", "--model", f"{file}:Tiny")
    assert code == 1 and "nothing is known of it before it is made" in out


def test_a_run_folder_is_named_after_file_and_class(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _new_folder(config_of(file), this_team()) == Path("runs/00000-fdfo-tiny-Tiny")


def test_export_is_what_the_file_writes(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(
        TINY
        + "\n    def save_merged(self, folder, dtype=None):\n        (folder / 'all').touch()\n        raise KeyError\n"
    )
    policy = configured_policy(config_of(path).policy, adapter=None, device="cpu")
    with pytest.raises(ModelError, match=r"failed in save_merged: KeyError \(tiny.py:\d+\)"):
        policy.save_merged(tmp_path)
    assert (tmp_path / "all").is_file()


BROKEN = {
    "raise KeyError('x')\n": ("Tiny", r"failed while its file was run: KeyError: 'x' \(tiny.py:1\)"),
    "import sys\nsys.exit()\n": ("Tiny", r"failed while its file was run: SystemExit \(tiny.py:2\)"),
    TINY: ("Tinny", "no 'Tinny' in the file; did you mean 'Tiny'"),
    "": ("Tiny", r"it defines none; add def policy\(settings, device\), which returns a fdfo.interfaces.Policy"),
}


@pytest.mark.parametrize(("text", "name", "told"), [(text, *rest) for text, rest in BROKEN.items()])
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, text, name, told):
    path = tmp_path / "tiny.py"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        train(config_of(path, name=name), tmp_path / "run")
    assert [bool(re.search(f"policy.name: policy '.*{told}", problem)) for problem in caught.value.problems] == [True]
    assert not (tmp_path / "run").exists()


WRONG = {
    "def Tiny(settings, device):\n    return 3\n": "returned int, without latent_shape, device, .*velocity.*; see",
    "Tiny = 3\n": "failed while it was made: TypeError",
    TINY.replace("    def grid", "    def times"): "returned Tiny, without grid; see",
    TINY.replace("TrainableWeights(Network().to(device), ", "list("): "are to be fdfo.models.weights.TrainableWeights",
    TINY.replace("= 1.0, True", "= 2.0, True"): "has guidance 2, not policy.guidance=1",
}


@pytest.mark.parametrize(("text", "told"), WRONG.items())
def test_what_is_no_policy_is_one_line(tmp_path, text, told):
    path = tmp_path / "tiny.py"
    path.write_text(text)
    with pytest.raises(ModelError, match=f"policy '.*tiny.py:Tiny'.*{told}"):
        configured_policy(config_of(path).policy, adapter=None, device="cpu")


RETURNS = {
    "encode": ("return Conditioning(tuple(", "return list((", "is to return a Conditioning with a row for each prompt"),
    "velocity": (
        "cond.rows]))",
        "cond.rows])).half()",
        r"returned torch.float16 \[2, 3, 16, 16\]; expected torch.float32",
    ),
    "decode": (".clamp(0, 1)", "[:, :1]", r"returned torch.float32 \[2, 1, 16, 16\]; expected .* \[2, 3, 16, 16\]"),
    "grid": ("shifted_grid(steps, 1.0)", "shifted_grid(steps, 1.0).tolist()", r"returned list; expected .* \[5\]"),
}


@pytest.mark.parametrize("name", RETURNS)
def test_what_it_returns_is_checked(tmp_path, name):
    before, after, told = RETURNS[name]
    assert before in TINY
    path = tmp_path / "tiny.py"
    path.write_text(TINY.replace(before, after))
    policy = configured_policy(config_of(path).policy, adapter=None, device="cpu")
    x, cond = torch.zeros(2, 3, 16, 16), Conditioning(({"length": torch.tensor(0.1)},) * 2)
    calls = {
        "encode": lambda: policy.encode(["a", "b"]),
        "velocity": lambda: policy.velocity(x, 1.0, cond),
        "decode": lambda: policy.decode(x),
        "grid": lambda: policy.grid(4),
    }
    with pytest.raises(ModelError, match=rf"policy '.*tiny.py:Tiny': {name} {told}"):
        calls[name]()


def test_it_is_told_how_guidance_is_batched_and_asked_for_what_it_has(file):
    policy = configured_policy(config_of(file).policy, adapter=None, device="cpu")
    policy.branches_together = False
    policy.velocity(torch.zeros(1, 3, 16, 16), 1.0, policy.encode(["a"]))
    assert policy._policy.branches_together is False
    with pytest.raises(ModelError, match=r"Tiny' has no shardable: add it, as in fdfo.interfaces.Policy$"):
        policy.shardable()


def test_images_of_another_size_than_was_asked_for_are_told(file):
    policy = configured_policy(config_of(file, "policy.resolution=[32, 16]").policy, adapter=None, device="cpu")
    with pytest.raises(
        ModelError, match=r"decode returned .* \[1, 3, 16, 16\]; expected torch.float32 \[1, 3, 32, 16\]"
    ):
        policy.decode(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("part", ["guidance", "device"])
def test_a_part_that_leaves_is_an_error_of_the_policy(tmp_path, part):
    path = tmp_path / "leaves.py"
    leaves = f"class Leaves(Tiny):\n    {part} = property(lambda self: exit(0), lambda self, value: None)\n"
    path.write_text(f"{TINY}\n\n{leaves}")
    with pytest.raises(ModelError, match="failed where its parts were read: SystemExit"):
        configured_policy(config_of(path, name="Leaves").policy, adapter=None, device="cpu")
