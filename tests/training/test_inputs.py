"""A run goes on over what it began with, or is told deliberately to go on over something else."""

import json
import os
import shutil
import sys
from importlib.metadata import EntryPoint

import pytest

from fdfo.config.load import load_config, reward_entries
from fdfo.config.run_folder import refuse_another
from fdfo.config.tree import RewardConfig
from fdfo.errors import ConfigError
from fdfo.evaluation.runs import read_evaluations
from fdfo.prompts import load_prompts, read_prompts
from fdfo.records import Prompt
from fdfo.training.inputs import code_digests, inputs_of, model_digests, option_digests, prompts_digest
from fdfo.training.loop import train
from tests.training.runs import TINY, run

SCORE = "from helper import level\ndef score(images, prompts, metadata):\n    return level(images)\n"
HELPER = "def level(images):\n    return images.mean((1, 2, 3))\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of one epoch over files of its own."""
    folder = tmp_path_factory.mktemp("made")
    texts = [prompt.text for prompt in load_prompts(None, "shapes-train")[:6]]
    (folder / "train.txt").write_text("\n".join(texts) + "\n")
    (folder / "held_out.txt").write_text("\n".join(texts[:4]) + "\n")
    (folder / "own.py").write_text(SCORE)
    (folder / "helper.py").write_text(HELPER)
    run(folder / "run", *settings(folder), "train.epochs=1")
    yield folder
    sys.modules.pop("helper", None)


def settings(folder):
    rewards = f"reward=[{{name: '{folder}/own.py:score'}}]"
    return (f"prompts.path={folder}/train.txt", f"prompts.eval_path={folder}/held_out.txt", rewards, "eval.every=1")


CHANGES = {
    "train.txt": ("prompts", "another prompt\n"),
    "held_out.txt": ("held-out prompts", "another prompt\n"),
    "own.py": ("code", "# another\n"),
    "helper.py": ("code", "# another\n"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_edited_file_is_refused_by_name(made, name):
    what, more = CHANGES[name]
    before = (made / name).read_text()
    kept = (made / "run" / "inputs.json").read_text()
    (made / name).write_text(more + before)
    try:
        with pytest.raises(ConfigError) as caught:
            run(made / "run", *settings(made), "train.epochs=2")
    finally:
        (made / name).write_text(before)
    assert caught.value.problems[0] == f"{what} {made}/{name} is not what the run began with"
    assert len(caught.value.problems) == 1 and "--changed-inputs" in str(caught.value).splitlines()[-1]
    assert (made / "run" / "inputs.json").read_text() == kept


def test_a_run_goes_on_over_the_same_and_deliberately_over_other_files(made, tmp_path, capsys):
    folder = shutil.copytree(made / "run", tmp_path / "run")
    config = load_config("shapes-smoke", [*TINY, *settings(made), "train.epochs=2"])
    (made / "train.txt").write_text((made / "train.txt").read_text() + "\n\n")  # the same prompts
    train(config, folder)
    assert "changed" not in capsys.readouterr().out
    before = (made / "own.py").read_text()
    (made / "own.py").write_text(before.replace("level(images)", "-level(images)"))
    try:
        train(load_config("shapes-smoke", [*TINY, *settings(made), "train.epochs=3"]), folder, changed_inputs=True)
    finally:
        (made / "own.py").write_text(before)
    told = f"going on over changed inputs (code {made}/own.py); earlier evaluations do not count"
    assert told in capsys.readouterr().out
    assert [past.epoch for past in read_evaluations(folder)] == [2, 3]
    assert (folder / "evaluations-before-change-1" / "epoch-0000001.json").is_file()
    assert json.loads((folder / "inputs.json").read_text())["changes"] == [[f"code {made}/own.py"]]


def test_a_damaged_record_is_set_aside(made, tmp_path, caplog):
    folder = shutil.copytree(made / "run", tmp_path / "run")
    (folder / "inputs.json").write_text("[]")
    run(folder, *settings(made), "train.epochs=1")
    assert "inputs.json is damaged" in caplog.text
    assert (folder / "inputs.json").read_text() == (made / "run" / "inputs.json").read_text()


def test_prompts_are_known_by_what_they_say(tmp_path):
    (tmp_path / "a.txt").write_text("a red circle\na blue square\n")
    (tmp_path / "b.jsonl").write_text('{"prompt": "a red circle"}\n{"prompt": "a blue square"}')
    a, b = (prompts_digest(read_prompts(tmp_path / name).prompts) for name in ("a.txt", "b.jsonl"))
    assert a == b
    assert prompts_digest(read_prompts(tmp_path / "a.txt").prompts[::-1]) != a
    one, two = ([Prompt(text="a", metadata={"n": n})] for n in (1, 2))
    assert prompts_digest(one) != prompts_digest(two)


def test_a_model_folder_is_known_by_the_files_of_its_components(tmp_path):
    for component in ("transformer", "vae", "unused"):
        (tmp_path / component).mkdir()
        (tmp_path / component / "weights.safetensors").write_bytes(component.encode())
    (tmp_path / "model_index.json").write_text('{"_class_name": "X", "transformer": [1, 2], "vae": [1, 2]}')
    stamps = {}
    before = model_digests(str(tmp_path), None, stamps)
    assert sorted(before) == [f"model {tmp_path}/{name}/weights.safetensors" for name in ("transformer", "vae")]
    path = tmp_path / "vae" / "weights.safetensors"
    stat = path.stat()
    path.write_bytes(b"xae")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the same size and time
    after = model_digests(str(tmp_path), None, stamps)
    assert [name for name in before if before[name] != after[name]] == [f"model {tmp_path}/vae/weights.safetensors"]
    assert any(name.startswith("model shapes/transformer/") for name in model_digests("shapes", None, {}))


def test_files_that_options_list_are_known(tmp_path):
    for name in ("w.safetensors", "w.pth", "w.png"):
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "own.py").write_text("def score(images, prompts, metadata, models):\n    pass\n")
    entry = {"name": f"{tmp_path}/own.py:score", "label": "mine", "models": [str(tmp_path), "no such", 3]}
    assert list(option_digests(reward_entries([entry], "test"), {})) == [
        f"models of mine {tmp_path}/{name}" for name in ("w.pth", "w.safetensors")
    ]


def test_code_is_known_by_its_statements_before_they_run(tmp_path):
    """None of these modules is ever imported here."""
    files = {
        "own.py": "import top\ndef score():\n    from lib.deep import inner, NAME\n    import numpy\n",
        "top.py": "import own\nif False:\n    import late as other\n",
        "late.py": "def broken(:",
        "lib/__init__.py": "",
        "lib/deep/__init__.py": "from ..near import x\nfrom . import beside",
        "lib/deep/inner.py": "from .....above import x",
        "lib/deep/beside.py": "",
        "lib/near.py": "",
        "unused.py": "",
        "numpy.txt": "",
    }
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    names = {name.removeprefix(f"code {tmp_path}/") for name in code_digests([f"{tmp_path}/own.py:score"])}
    assert names == files.keys() - {"unused.py", "numpy.txt"}


def test_an_installed_score_is_known_by_its_whole_package(tmp_path, monkeypatch):
    (tmp_path / "myscores").mkdir()
    (tmp_path / "myscores" / "__init__.py").write_text("")
    (tmp_path / "myscores" / "helper.py").write_text("")
    (tmp_path / "myscores" / "scores.py").write_text("def score(images, prompts, metadata):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "myscores.scores:score", "fdfo.rewards")
    monkeypatch.setattr("fdfo.plugins.entry_points_of", lambda kind: [point] if kind == "rewards" else [])
    digests = code_digests(["mine", "jpeg"])
    wanted = {f"code of mine {tmp_path}/myscores/{name}.py" for name in ("__init__", "helper", "scores")}
    assert digests.keys() == wanted
    monkeypatch.delitem(sys.modules, "myscores.scores")
    monkeypatch.delitem(sys.modules, "myscores")


def test_an_untouched_file_is_not_read_again(tmp_path, monkeypatch):
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    entries = reward_entries([{"name": "clip", "model": str(tmp_path)}], "test")
    stamps = {}
    first = option_digests(entries, stamps)
    assert list(first) == [f"model of clip {tmp_path}/w.safetensors"]
    monkeypatch.setattr("fdfo.training.inputs.file_digest", lambda path: pytest.fail(f"{path} was read"))
    assert option_digests(entries, stamps) == first


def test_code_of_this_package_and_of_others_is_not_a_users(tmp_path):
    assert code_digests(["jpeg", "fdfo"]) == {}
    config = load_config("shapes-smoke")
    names = inputs_of(config, [], [], {})
    assert {name.split(" ")[0] for name in names} == {"prompts", "held-out", "model"}


def test_the_model_of_evaluations_is_one_of_the_inputs(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "weights.safetensors").write_bytes(b"vae")
    (tmp_path / "model_index.json").write_text('{"_class_name": "X", "vae": [1, 2]}')
    config = load_config("shapes-smoke", [])
    other = config.model_copy(update={"eval": config.eval.model_copy(update={"policy": str(tmp_path)})})
    assert f"model {tmp_path}/vae/weights.safetensors" in inputs_of(other, [], [], {})


def test_paths_of_scores_are_found_at_any_depth_and_under_every_name(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"w")
    where = str(tmp_path / "w.pth")
    mine = {"name": "mine.py:f", "label": "mine", "url": where, "deep": {"list": [{"file": where}]}}
    entries = [RewardConfig.model_validate(mine), RewardConfig.model_validate({"name": "remote", "url": where})]
    assert list(option_digests(entries, {})) == [f"{key} of mine {where}" for key in ("url", "deep")]


@pytest.mark.parametrize(("name", "is_placement"), [("mine.py:f", False), ("human", True)])
def test_an_option_of_anothers_score_is_not_its_placement(tmp_path, monkeypatch, name, is_placement):
    def of(repeat):
        entry = RewardConfig.model_validate({"name": name, "repeat": repeat, "device": f"cuda:{repeat}"})
        return load_config("shapes-smoke", []).model_copy(update={"reward": (entry,)})

    monkeypatch.setattr("fdfo.config.run_folder.load_run_config", lambda run: of(0))
    refuse_another(tmp_path, of(0))
    if is_placement:
        refuse_another(tmp_path, of(1))
    else:
        with pytest.raises(ConfigError, match=r"reward\.0\.repeat is 0 in the folder, 1 now"):
            refuse_another(tmp_path, of(1))
