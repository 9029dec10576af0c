"""Pre-training: its mistakes, its stages and continuing after a stop."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from torch import nn

from fdfo.shapes import captions, parse, split_of
from fdfo.shapes.grammar import caption
from fdfo.shapes.pretrain import loop
from fdfo.shapes.pretrain.data import make_pictures, random_spec
from fdfo.shapes.pretrain.mistakes import bad_picture, wrong_spec
from fdfo.shapes.pretrain.progress import Progress
from fdfo.shapes.pretrain.run import pretrain
from fdfo.shapes.pretrain.settings import LARGE, Settings, Training, stream_seed
from fdfo.shapes.pretrain.stages import contrastive_batch, info_nce, sample_times
from fdfo.shapes.scene import CATEGORIES
from fdfo.shapes.verifier import judge

QUIET = Progress(quiet=True)
TINY = Settings(
    pictures=12,
    vae=Training(steps=2, lr=1e-3, batch=2),
    flow=Training(steps=3, lr=1e-3, batch=2, muon_lr=0.01),
    contrastive=Training(steps=2, lr=1e-3, batch=2),
    card_pictures=6,
)


SMALL_LARGE = replace(TINY, size=replace(LARGE.size, layers=1, heads=1))


class Stop(Exception):
    pass


def test_random_captions_are_of_the_training_split_and_of_every_category():
    rng = np.random.default_rng(0)
    texts = [caption(random_spec(rng)) for _ in range(300)]
    assert {split_of(text) for text in texts} == {"train"}
    assert {parse(text).category for text in texts} == set(CATEGORIES)


def test_mistakes_are_wrong_and_never_leak_a_held_out_caption():
    rng = np.random.default_rng(0)
    texts = [item.text for item in captions("train")[::3]]
    wrong = [caption(wrong_spec(parse(text), rng)) for text in texts]
    assert np.mean([a == b for a, b in zip(texts, wrong, strict=True)]) < 0.005
    assert {split_of(text) for text in wrong} == {"train"}


def test_bad_pictures_are_mostly_bad():
    rng = np.random.default_rng(0)
    spec = parse("a red circle and a blue square")
    verdicts = [judge(bad_picture(spec, rng), spec) for _ in range(60)]
    assert 0.2 < np.mean([verdict.graded for verdict in verdicts if verdict]) < 0.95
    assert np.mean([verdict.passed for verdict in verdicts if verdict]) < 0.7


def test_info_nce_leaves_out_captions_that_are_true_as_well():
    logits = torch.tensor([[2.0, 1.0, 0.0, 5.0], [0.0, 3.0, 1.0, 1.0]])
    also_true = torch.zeros(2, 4, dtype=torch.bool)
    also_true[0, 3] = True
    by_image = -torch.log(torch.tensor([np.exp(2) / (np.exp(2) + np.e + 1), np.exp(3) / (1 + np.exp(3) + 2 * np.e)]))
    by_text = -torch.log(torch.tensor([np.exp(2) / (np.exp(2) + 1), np.exp(3) / (np.e + np.exp(3))]))
    expected = (by_image.mean() + by_text.mean()) / 2
    torch.testing.assert_close(info_nce(logits, also_true).double(), expected)


def test_contrastive_batches_are_true():
    images, texts, also_true = contrastive_batch(6, np.random.default_rng(0))
    assert images.shape == (6, 3, 32, 32)
    assert len(texts) == also_true.shape[1] == 12
    for i, image in enumerate(images.numpy()):
        verdict = judge(image, texts[i])
        assert verdict is not None
        assert verdict.passed
        assert not also_true[i, i]


def test_training_times_follow_their_mixture():
    t = sample_times(200_000, torch.Generator().manual_seed(0)).double()
    assert t.min() > 0
    assert t.max() < 1
    logistic_mean = torch.sigmoid(0.3 + torch.linspace(-8, 8, 4001, dtype=torch.float64))
    weight = torch.exp(-(torch.linspace(-8, 8, 4001, dtype=torch.float64) ** 2) / 2)
    expected = 0.8 * (logistic_mean * weight).sum() / weight.sum() + 0.2 * 0.5
    assert t.mean() == pytest.approx(expected.item(), abs=0.003)


def test_fingerprints_follow_what_a_stage_depends_on():
    base, other = Settings(), replace(Settings(), flow=Training(steps=1, lr=1.0))
    assert base.fingerprint("flow") != other.fingerprint("flow")
    assert base.fingerprint("autoencoder") == other.fingerprint("autoencoder")
    assert base.fingerprint("flow") != base.fingerprint("contrastive")


def test_pictures_of_a_run_do_not_depend_on_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr("fdfo.shapes.pretrain.data.SHARD", 5)
    whole, _ = make_pictures(TINY, tmp_path / "a", QUIET)
    make_pictures(TINY, tmp_path / "b", QUIET)
    (tmp_path / "b" / "pictures-0000005.safetensors").unlink()
    again, _ = make_pictures(TINY, tmp_path / "b", QUIET)
    assert torch.equal(whole.images, again.images)
    assert torch.equal(whole.ids, again.ids)


def _train_line(work, fail_at=None, steps=20):
    torch.manual_seed(0)
    net = nn.Linear(3, 1)

    def loss_at(step):
        if step == fail_at:
            raise Stop
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(stream_seed("x", step)))
        return (net(x) - x.sum(1, keepdim=True)).square().mean()

    training = Training(steps=steps, lr=0.1, ema=0.9)
    loop.train_stage("line", net, loss_at, training, work=work, fingerprint="f", progress=QUIET)
    return net


def test_a_stage_continues_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    whole = _train_line(tmp_path / "a")
    for fail_at in (7, 13):
        with pytest.raises(Stop):
            _train_line(tmp_path / "b", fail_at)
    continued = _train_line(tmp_path / "b", fail_at=12)
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), continued.parameters(), strict=True))
    torch.testing.assert_close(whole.weight, torch.ones(1, 3), rtol=0.3, atol=0)


def test_the_learning_rate_decays_linearly_to_zero():
    assert [loop.decay(f, 0.5) for f in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]


class Interrupting(Progress):
    """Stops the run at the second step of the flow stage."""

    def task(self, name, total, done=0):
        if name == "flow" and done == 0:
            raise_at = iter([False, True])

            class Advance:
                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    return False

                def __call__(self, count=1, **shown):
                    if next(raise_at):
                        raise Stop

            return Advance()
        return super().task(name, total, done)


@pytest.mark.slow
def test_the_whole_run_continues_to_the_same_models(tmp_path, monkeypatch, quiet):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    device = torch.device("cpu")
    pretrain(TINY, tmp_path / "a", tmp_path / "work-a", device, QUIET)
    with pytest.raises(Stop):
        pretrain(TINY, tmp_path / "b", tmp_path / "work-b", device, Interrupting(quiet=True))
    assert not (tmp_path / "b").exists()
    pretrain(TINY, tmp_path / "b", tmp_path / "work-b", device, QUIET)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.safetensors"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_larger_world_is_made_by_the_same_run(tmp_path, quiet):
    pretrain(SMALL_LARGE, tmp_path / "out", tmp_path / "work", torch.device("cpu"), QUIET)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pipeline"]
    pipeline = StableDiffusion3Pipeline.from_pretrained(tmp_path / "out" / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a red circle", num_inference_steps=2, max_sequence_length=1, output_type="pt").images
    assert image.shape == (1, 3, 64, 64)
    assert pipeline.transformer.config["in_channels"] * pipeline.transformer.config["sample_size"] ** 2 == 4096
    assert pipeline.scheduler.config["shift"] == 2.0
    assert "64x64" in (tmp_path / "out" / "pipeline" / "README.md").read_text(encoding="utf-8")


def test_a_shift_moves_the_training_times_as_it_moves_the_scheduler(monkeypatch):
    """t -> s t / (1 + (s - 1) t) adds log s to the logit."""
    monkeypatch.setattr("fdfo.shapes.pretrain.stages.UNIFORM_TIMES", 0.0)
    plain, moved = (sample_times(50, torch.Generator().manual_seed(0), shift) for shift in (1.0, 3.0))
    torch.testing.assert_close(moved, 3 * plain / (1 + 2 * plain))
