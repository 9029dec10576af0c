"""A score learned from choices: Davidson's model against closed forms and others' fits, and the way to a reward."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from fdfo.commands.choices_fit import run_fit
from fdfo.config.tree import RewardConfig
from fdfo.errors import CheckpointError, ConfigError, RewardError
from fdfo.rewards.davidson import Comparisons, agreement, best_ridge, chances, fit, held_out_gaps
from fdfo.rewards.embedding import DinoV2, Embedding
from fdfo.rewards.learned import Learned
from fdfo.rewards.weighted import WeightedSum
from tests.rewards.colours import choose, colours, redder
from tests.rewards.tiny_clip import make_clip, pictures


def comparisons(gaps, chosen, prompts=None):
    gaps = np.atleast_2d(np.array(gaps, float)).reshape(len(chosen), -1)
    return Comparisons(gaps, np.array(chosen), np.arange(len(chosen)) if prompts is None else np.array(prompts))


def test_chances_are_davidsons():
    """Strengths 4 and 1, nu = 0.5: 4, 1 and 0.5 sqrt(4) = 1, of 6."""
    found = chances(np.array([np.log(4.0)]), np.log(0.5))
    np.testing.assert_allclose(found, [[4 / 6, 1 / 6, 1 / 6]])


def test_the_fit_of_one_feature_is_the_closed_form():
    """Difference 1 throughout: the chances are the shares, d = log(6/2), and nu = ties / sqrt(first second)."""
    found = fit(comparisons([[1.0]] * 12, [1] * 6 + [-1] * 2 + [0] * 4), ridge=0.0)
    assert found.weights[0] == pytest.approx(np.log(3), abs=1e-4)
    assert np.exp(found.log_tie) == pytest.approx(4 / np.sqrt(12), abs=1e-4)


def test_without_ties_it_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    x = random.normal(size=(80, 4)) * [1, 2, 0.5, 3]
    y = np.where(random.random(80) < 1 / (1 + np.exp(-x @ [1, -0.5, 0, 0.2])), 1, -1)
    scale = np.sqrt((x**2).mean(0))
    theirs = LogisticRegression(C=1 / 2.0, fit_intercept=False, tol=1e-10).fit(x / scale, y)
    found = fit(comparisons(x, y), ridge=2.0)
    np.testing.assert_allclose(found.weights * scale, theirs.coef_[0], rtol=1e-3, atol=1e-4)


def test_which_picture_is_the_first_does_not_matter():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(40, 3)), random.integers(-1, 2, 40)
    turned = random.choice([-1, 1], 40)
    one, other = fit(comparisons(x, y), 1.0), fit(comparisons(x * turned[:, None], y * turned), 1.0)
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-4)


@pytest.mark.slow
def test_held_out_accuracy_is_that_of_new_prompts():
    """A taste in one of five features is found; features that only tell prompts apart help nothing there."""
    random = np.random.default_rng(2)
    x = random.normal(size=(120, 5))
    y = np.where(x[:, 0] + 0.3 * random.normal(size=120) > 0, 1, -1)
    given = comparisons(x, y, np.arange(120) // 2)
    assert agreement(held_out_gaps(given), given).mean() > 0.85
    prompts = np.repeat(np.arange(60), 2)
    names = np.eye(60)[prompts] * random.choice([-1, 1], 60)[prompts, None]  # the same twice: learned by heart
    by_heart = comparisons(names, np.sign(names.sum(1)) * random.choice([-1, 1], 60)[prompts], prompts)
    head = fit(by_heart, 0.1)
    assert agreement(head.gaps(by_heart.difference), by_heart).mean() == 1
    assert agreement(held_out_gaps(by_heart), by_heart).mean() == 0.5  # all gaps are zero
    assert best_ridge(given) < best_ridge(comparisons(x, random.choice([-1, 1], 120), given.prompt))


def test_agreement_counts_prompts_and_leaves_ties_out():
    given = comparisons([[0]] * 5, [1, -1, 0, 1, -1], [0, 0, 0, 1, 2])
    np.testing.assert_allclose(agreement(np.array([1.0, 2, 9, -1, 0]), given), [0.5, 0, 0.5])


# ---- from choices to a score ----


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """40 choices of the redder picture, 4 of them with no preference, one skipped, by a person who is wrong on two."""
    run = tmp_path_factory.mktemp("choices") / "run"
    others = {3: "tie", 9: "tie", 20: "tie", 33: "tie", 39: "skip"}
    for number, pair in enumerate(colours(run, 40)):
        choose(run, pair, others.get(number) or redder(run, pair, wrong=number in (5, 17)))
    return run


@pytest.fixture(scope="module")
def fitted(run, tmp_path_factory):
    """The folder, and what was printed."""
    import contextlib
    import io

    folder, told = tmp_path_factory.mktemp("taste") / "taste", io.StringIO()
    with contextlib.redirect_stdout(told):
        run_fit([run], "shapes-contrastive", None, "shapes-neatness", folder, "cpu")
    return folder, told.getvalue()


def test_it_says_how_often_it_is_right_beside_ready_scores(fitted):
    folder, told = fitted
    assert "39 choices for 39 prompts: 35 of a side, 4 ties" in told and "1 skipped: left out" in told
    accuracy = json.loads((folder / "learned.json").read_text())["accuracy"]
    assert list(accuracy) == ["learned", "shapes-contrastive", "shapes-neatness"]
    for name, (mean, low, high) in accuracy.items():
        assert f"{name}  " in told and f"{mean:.3f} [{low:.3f}, {high:.3f}]" in told
        assert 0 <= low <= mean <= high <= 1
    learned, *ready = accuracy.values()
    assert learned[1] > max(mean for mean, _, _ in ready)  # its whole interval lies above


def test_the_folder_is_a_score_that_knows_the_taste(fitted):
    reward = WeightedSum([RewardConfig(name="learned", path=str(fitted[0]))])
    reward.load(torch.device("cpu"), torch.float32)
    images = torch.zeros(2, 3, 32, 32)
    images[0, 0], images[1, 2] = 1, 1  # red, blue
    images.requires_grad_()
    scores = reward(images, ["a red circle"] * 2, [{}] * 2)
    assert scores[0] > scores[1]
    scores.sum().backward()
    assert images.grad.abs().sum() > 0
    weights = load_file(fitted[0] / "head.safetensors")["weights"]
    embedding = Embedding("shapes-contrastive", None)
    embedding.load("cpu", torch.float32)
    torch.testing.assert_close(scores.float(), embedding(images, ["a red circle"] * 2) @ weights)


@pytest.mark.parametrize("damage", ["missing", "json", "weights"])
def test_a_folder_that_is_none_says_how_to_make_one(fitted, tmp_path, damage):
    folder = tmp_path / "taste"
    folder.mkdir()
    for file in fitted[0].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    if damage == "missing":
        (folder / "learned.json").unlink()
    else:
        (folder / {"json": "learned.json", "weights": "head.safetensors"}[damage]).write_bytes(b"{}")
    with pytest.raises(RewardError, match=r"is no learned score \(.*make one with `fdfo choices fit RUN -o taste`"):
        Learned(path=str(folder))


def test_features_of_another_model_are_refused(fitted, tmp_path):
    folder = tmp_path / "taste"
    folder.mkdir()
    (folder / "head.safetensors").write_bytes((fitted[0] / "head.safetensors").read_bytes())
    about = json.loads((fitted[0] / "learned.json").read_text())
    about |= {"features": "clip", "model": make_clip(tmp_path / "clip")}
    (folder / "learned.json").write_text(json.dumps(about))
    score = Learned(path=str(folder))
    score.load("cpu", torch.float32)
    with pytest.raises(RewardError, match="its network gives 9: it is another model than then; fit it again"):
        score(torch.rand(1, 3, 24, 24), ["a"], [{}])


def test_dinov2_is_read_as_transformers_reads_it(tmp_path):
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    theirs = Dinov2Model(config).eval()
    theirs.save_pretrained(tmp_path)
    processor = BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    processor.save_pretrained(tmp_path)
    images = pictures(3, 28, 28)
    ours = DinoV2(model=str(tmp_path), batch_size=2)
    ours.load("cpu", torch.float32)
    given = ours._preprocess(images)
    torch.testing.assert_close(ours.image_features(images), theirs(pixel_values=given).last_hidden_state[:, 0])
    (network,) = ours.networks
    assert not any(parameter.requires_grad for parameter in network.parameters())
    embedding = Embedding("dinov2", str(tmp_path))
    embedding.load("cpu", torch.float32)
    assert not embedding.reads_prompts and embedding(images, ["a"] * 3).norm(dim=1).tolist() == pytest.approx([1] * 3)


def test_another_kind_of_model_is_refused(tmp_path):
    with pytest.raises(RewardError, match="'clip' model; these features take a 'dinov2' model"):
        DinoV2(model=make_clip(tmp_path)).load("cpu", torch.float32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": "clipp"}, RewardError, "did you mean 'clip'"),
        ({"model": "x"}, RewardError, "take no other model"),
        ({"against": "human"}, ConfigError, "asks people"),
        ({"against": "nothing"}, ConfigError, "unknown reward 'nothing'"),
        ({"runs": 3}, CheckpointError, r"has no choices\.jsonl"),
    ],
    ids=str,
)
def test_mistakes_are_told_before_anything_is_loaded(run, tmp_path, change, error, message):
    given = {"features": "shapes-contrastive", "model": None, "against": None} | change
    runs = [tmp_path] if given.pop("runs", None) else [run]
    with pytest.raises(error, match=message):
        run_fit(runs, *given.values(), tmp_path / "taste", "cpu")
    assert not (tmp_path / "taste").exists()


def test_few_choices_are_too_few(run, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    lines = (run / "choices.jsonl").read_text().splitlines(keepends=True)
    (few / "choices.jsonl").write_text("".join(lines[:8]))
    with pytest.raises(CheckpointError, match="a side was chosen for 0 prompts, too few"):  # the pictures are missing
        run_fit([few], "shapes-contrastive", None, None, tmp_path / "taste", "cpu")
