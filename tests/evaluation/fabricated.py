"""A made-up run folder with plausible curves, written by the real writers."""

import numpy as np
import torch

from fdfo.config.load import load_config
from fdfo.config.scores import distinct
from fdfo.evaluation.alarms import alarms
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import save_gallery, save_groups
from fdfo.files import write_atomically
from fdfo.prompts.shapes import validation
from fdfo.shapes.grammar import parse
from fdfo.shapes.render import render
from fdfo.shapes.sampling import sample_scene
from fdfo.training.folder import RunFolder

SHOWN = 24


def make_run(
    path,
    *,
    epochs=20,
    every=5,
    done=None,
    prompts=60,
    images_per_prompt=2,
    overrides=(),
    texts=None,
    gain=0.3,
    unseen_gain=0.15,
    drop=0.1,
    failed=(),
    categories=True,
    side=32,
    shown=SHOWN,
    seed=0,
    evaluate=True,
    pairs=True,
    group_size=2,
):
    """Write a run of `done` of `epochs` epochs and return its folder.

    gain, unseen_gain: rise of the trained and of the unseen score; drop: share of diversity lost; failed: rows of the
    trained score that are NaN; side: size of a picture, a multiple of 32.
    """
    done = epochs if done is None else done
    config = load_config(
        "shapes",
        [f"train.epochs={epochs}", f"eval.every={every}", f"method.branches={group_size}", *overrides],
    )
    folder = RunFolder(path)
    folder.prepare(config)
    rng = np.random.default_rng(seed)
    world = World(rng, prompts, images_per_prompt, texts, categories, side, shown)
    history, names = [], distinct([entry.title for entry in config.reward])
    for epoch in range(done + 1):
        progress = 1 - np.exp(-3 * epoch / max(1, epochs))
        if epoch:
            log_epoch(folder, epoch, progress * gain, rng, group_size)
        if not evaluate or not (config.eval.is_due(epoch) or epoch == done):
            continue
        if epoch and pairs:
            save_groups(folder.samples, epoch, *world.groups(group_size, progress))
        save_gallery(folder.samples, epoch, *world.gallery(progress))
        evaluation = world.evaluation(names, epoch, progress, gain, unseen_gain, drop, failed)
        history.append(evaluation)
        folder.save_evaluation(evaluation)
        log_evaluation(folder, evaluation)
        for alarm in alarms(history, unseen=["shapes-contrastive"]):
            folder.log("alarm", alarm.epoch, {"name": alarm.name, "message": alarm.message})
        if epoch:
            for which in ("latest", "best"):
                write_atomically(folder.checkpoints / which, f"epoch-{epoch:07d}\n")
    return path


def log_epoch(folder, epoch, risen, rng, group_size):
    """Events of one epoch, as the training loop logs them."""
    noise = rng.normal(0, 0.01, 6)
    seconds = {"encode": 0.05, "sample": 0.81, "decode": 0.12, "score": 0.2, "train": 1.4, "evaluate": 0.0, "save": 0.1}
    cost = {"images": 96 * group_size * epoch, "forwards": 1920 * epoch, "trained": 384 * epoch}
    values = {
        "reward": 0.44 + risen + noise[0],
        "reward_std": 0.36 + noise[1],
        "group_spread": 0.11 + noise[2],
        "images": 96.0 * group_size,
        "failed": float(epoch == 3),
        "dropped_groups": float(epoch == 3),
        "seconds": {name: value * (1 + 4 * noise[3]) for name, value in seconds.items()},
        "total": cost,
        "processor_s": 2.5 * (1 + 4 * noise[3]),
        "peak_memory_gib": 1.2 + epoch / 1000,
    }
    folder.log("rollout", epoch, values)
    for update in range(2):
        metrics = {
            "loss": -1e-4 + noise[4] / 100,
            "ratio_change": 0.002 + noise[5] / 20,
            "clip_fraction": 0.01 * update,
        }
        shape = {"velocity_rms": 1.1 + risen / 10, "gradient_norm": 0.1 + abs(noise[4]), "skipped": 0.0}
        folder.log("update", epoch, {"update": 2 * epoch - 1 + update, **metrics, **shape})


def log_evaluation(folder, evaluation):
    """The event of one evaluation, as the training loop logs it."""
    intervals = {name: evaluation.interval(name) for name in evaluation.metrics}
    intervals |= {name: evaluation.interval(name) for name in evaluation.signals}
    values = {name: {"mean": i.mean, "low": i.low, "high": i.high} for name, i in intervals.items()}
    scores, signals = ({name: values[name] for name in found} for found in (evaluation.metrics, evaluation.signals))
    event = {"scores": scores, "signals": signals, "seconds": {"evaluate": 4.2}}
    folder.log("evaluation", evaluation.epoch, event)


def blur(picture, reach=3):
    """Mean over neighbours: [3, H, W]."""
    for axis in (1, 2):
        picture = np.mean([np.roll(picture, step, axis) for step in range(-reach, reach + 1)], axis=0)
    return picture


class World:
    """Held-out prompts with a difficulty and a picture each."""

    def __init__(self, rng, prompts, images_per_prompt, texts, categories, side, shown):
        known = validation()
        found = [known[i * len(known) // prompts] for i in range(prompts)]
        self.texts = [prompt.text for prompt in found]
        self.categories = [prompt.metadata["category"] if categories else None for prompt in found]
        self.pictures = [render(sample_scene(parse(text), rng)) for text in self.texts]
        self.blurred = [blur(picture)[::-1] for picture in self.pictures]  # colours swapped, too
        for i, text in enumerate(texts or []):
            self.texts[i * prompts // shown] = text  # the first ones that are shown
        self.rng, self.k, self.side, self.shown = rng, images_per_prompt, side, shown
        self.level = rng.uniform(0.1, 0.8, prompts)

    def drawn(self, i, progress):
        """Picture i, blurred and tinted where the model is still bad: [3, side, side] uint8."""
        bad = 0.6 * self.blurred[i] + 0.4 * self.pictures[i]
        mixed = progress * self.pictures[i] + (1 - progress) * bad
        scaled = mixed.repeat(self.side // 32, 1).repeat(self.side // 32, 2)
        return torch.from_numpy((scaled.clip(0, 1) * 255).astype(np.uint8))

    def gallery(self, progress):
        count = min(self.shown, len(self.texts))
        places = [i * len(self.texts) // count for i in range(count)]
        return torch.stack([self.drawn(i, progress) for i in places]), [self.texts[i] for i in places]

    def groups(self, size, progress):
        rows = self.rng.integers(len(self.texts), size=8)
        levels = np.clip(progress + self.rng.normal(0, 0.3, (8, size)), 0, 1)
        levels[3] = levels[3][0]
        images = torch.stack(
            [torch.stack([self.drawn(i, s) for s in own]) for i, own in zip(rows, levels, strict=True)]
        )
        totals = torch.tensor(levels).flatten()
        totals[-1] = float("nan")
        return images, totals, [self.texts[i] for i in rows]

    def evaluation(self, names, epoch, progress, gain, unseen_gain, drop, failed):
        prompts, k = len(self.texts), self.k
        own = np.random.default_rng([7, epoch])
        trained = np.repeat(self.level + gain * progress, k) + own.normal(0, 0.1, prompts * k)
        unseen = 2.6 + np.repeat(self.level + unseen_gain * progress, k) + own.normal(0, 0.15, prompts * k)
        trained[list(failed)] = np.nan
        spread = own.uniform(0.2, 0.4, prompts) * (1 - drop * progress)
        return Evaluation(
            epoch=epoch,
            prompts=self.texts,
            categories=self.categories,
            images_per_prompt=k,
            steps=10,
            scores={
                **{name: trained.tolist() for name in ("reward", *names)},
                "shapes-contrastive": unseen.tolist(),
            },
            diversity=spread.tolist() if k > 1 else None,
            signals={
                "velocity_rms": (1.1 * (1 + 0.05 * progress) + own.normal(0, 0.02, prompts * k)).tolist(),
                "sharpness": (0.05 * (1 + 0.2 * progress) + own.normal(0, 0.004, prompts * k)).tolist(),
            },
        )
