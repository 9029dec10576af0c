"""What others import from `fdfo`, and docs/python.md as it stands there."""

import io
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

import fdfo
from fdfo.drawing import generate
from fdfo.records import Prompt

TEXT = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)


def test_public_names_are_what_others_import():
    configs = {"Config", *(f"{name}Config" for name in ("Adapter", "Eval", "Log", "Optim", "Policy", "Prompts"))}
    configs |= {"RewardConfig", "TrainConfig"}
    called = {"evaluate", "export", "generate", "load_config", "load_policy", "rewards", "train", "Trainer"}
    records = {"Evaluated", "FdfoError", "Prompt", "Saved", "Trained", "__version__"}
    assert set(fdfo.__all__) == configs | called | records == set(dir(fdfo))
    for name in fdfo.__all__:
        assert getattr(fdfo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = fdfo.tarin


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The names that the page's code defines, run from top to bottom in one place."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        exec(BLOCKS[0], names)
        names["stepped"] = {key: value.detach().clone() for key, value in names["policy"].weights.named().items()}
        names["first"] = dict(names)
        for block in BLOCKS[1:]:
            exec(block, names)
        names["where"] = Path.cwd()
    return names


@pytest.mark.slow
def test_the_epoch_is_the_methods_own(page):
    """The same weights as the library's loop after one update of the same pairs and noise."""
    from fdfo.flow.noise import NoiseStreams
    from fdfo.methods.fdfo import FDFO, FdfoConfig
    from fdfo.records import Scores

    method = FDFO(FdfoConfig(strength=0.01, steps=8, trusted=None))
    policy = fdfo.load_policy("shapes", adapter=fdfo.AdapterConfig(rank=8))
    prompts = [Prompt(text=text, number=number) for number, text in enumerate(page["first"]["prompts"])]
    rollout = method.rollout(policy, prompts, NoiseStreams(seed=0, epoch=0))
    total = page["warmth"](policy.decode(rollout.x0), None, None).double()
    items = method.credit(rollout, Scores(total=total, components={}, batch=total))
    rows = torch.arange(8).repeat_interleave(8), torch.arange(8).repeat(8)
    optimizer = torch.optim.AdamW(policy.trainable(), lr=3e-4)
    method.loss(policy, items.rows(*rows), None).losses.mean().backward()
    before = {name: value.detach().clone() for name, value in policy.weights.named().items()}
    optimizer.step()
    moved = 0.0
    for name, value in policy.weights.named().items():
        # AdamW's first step is lr times the sign of the gradient: the same wherever that is not all but zero.
        same = ((value - page["stepped"][name]).abs() < 1e-6).float().mean()
        assert same > 0.98, name
        moved = max(moved, float((value - before[name]).abs().max().detach()))
    assert moved > 1e-4


def test_the_epoch_is_about_twenty_lines_beside_imports_and_choices():
    epoch = BLOCKS[0].partition("grid = ")[2]
    assert len(epoch.strip().splitlines()) <= 22


@pytest.mark.slow
def test_the_page_runs_and_says_what_is_there(page):
    assert (page["where"] / "runs" / "warm" / "report.html").is_file()
    assert len(page["part"].images) == 6
    # And a mark, where other tests have one of that name.
    (name,) = [one for one in page["after"].scores if one.startswith("python:warmth")]
    assert page["after"].gain(page["before"], name).n == 3
    with safe_open(page["where"] / "lora" / "pytorch_lora_weights.safetensors", "pt") as file:
        assert file.metadata()["fdfo.checkpoint"] == "epoch-0000002"
    assert page["trainer"].folder == Path("runs/warm-loop") and page["checkpoint"].name == "epoch-0000002"


@pytest.mark.slow
def test_sampled_pictures_are_those_of_evaluations_and_show_themselves(page):
    policy, texts = page["trained"], ["a red circle", "three blue squares", "a green cross"]
    pictures = policy.sample(texts, seed=3, steps=2, images_per_prompt=2)
    prompts = [Prompt(text=text, number=number) for number, text in enumerate(texts)]
    (part,) = generate(policy, prompts, steps=2, seed=3, images_per_prompt=2)
    torch.testing.assert_close(pictures.images, part.images, rtol=0, atol=1e-5)
    assert len(pictures) == 6 and [picture.size for picture in pictures] == [(32, 32)] * 6
    shown = Image.open(io.BytesIO(pictures._repr_png_()))
    assert shown.size == (64, 96)  # a row for each prompt
    assert shown.crop((32, 64, 64, 96)).tobytes() == pictures[5].tobytes()
    base = policy.sample(texts[0], seed=3, steps=2, weights="base")
    assert float((base.images - pictures.images[:1]).abs().max()) > 0


TINY = {
    "train": {"epochs": 3, "checkpoint_every": 3},
    "method": {"steps": 2},
    "eval": {"prompts": 2, "every": 3, "steps": 1},
    "prompts": {"pairs_per_epoch": 2},
    "optim": {"updates_per_epoch": 1},
}


@pytest.mark.slow
def test_leaving_the_loop_saves_and_another_loop_goes_on(tmp_path):
    config = fdfo.load_config("shapes-smoke", TINY)
    trainer = fdfo.Trainer(config, tmp_path / "left")
    with pytest.raises(fdfo.FdfoError, match="before the loop begins"):
        _ = trainer.policy
    for event in trainer:
        if isinstance(event, fdfo.Trained):
            break
    assert [path.name for path in (tmp_path / "left" / "checkpoints").glob("epoch-*")] == ["epoch-0000001"]
    with pytest.raises(ZeroDivisionError):
        divided(trainer)
    told = [(type(event).__name__, event.epoch) for event in trainer]  # which an exception keeps nobody from
    assert told == [("Trained", 3), ("Evaluated", 3), ("Saved", 3)]
    whole = fdfo.train(config, tmp_path / "whole")
    name = "checkpoints/epoch-0000003/adapter_model.safetensors"
    assert (tmp_path / "left" / name).read_bytes() == (whole / name).read_bytes()


def divided(trainer):
    """An exception in the loop, after its first event."""
    for _ in trainer:
        raise ZeroDivisionError


FILES = (Path(__file__).parents[2] / "docs" / "reference" / "files.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_files_names_every_file_and_every_key_of_a_run(page):
    run = page["where"] / "runs" / "warm"
    named = set()
    for cell in re.findall(r"^\| (`.*?) \|", FILES.partition("## Events")[0], re.M):
        first, *others = re.findall(r"`([^`]+)`", cell)
        named.add(first)
        named |= {f"{first.rpartition('.')[0]}{other}" if other[0] == "." else other for other in others}
        named |= {f"{first.rpartition('/')[0]}/{other}" for other in others if other[0] != "."}
    for path in run.rglob("*"):
        if path.is_file():
            assert re.sub(r"\d{7}", "N", path.relative_to(run).as_posix()) in named | {".lock"}
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", FILES.partition("## Events")[2], re.M))
    for line in (run / "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        keys = {key.partition("/")[0] for key in event} - {"event", "epoch"}
        assert keys <= {key.partition("/")[0] for key in re.findall(r"`([^`]+)`", rows[event["event"]])}
