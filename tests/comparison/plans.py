"""Plans and results of two tiny cells, for tests."""

import yaml

from fdfo.comparison.reading import load_plan
from fdfo.comparison.results import Point, Result

TINY = {
    "name": "tiny",
    "title": "Two tiny cells",
    "recipe": "shapes-smoke",
    "changes": {"method.steps": 2, "prompts.pairs_per_epoch": 4, "eval.steps": 2},
    "cells": {"pair": {}, "single": {"changes": {"method.branches": 1}}},
    "budget": 150,
    "scores": {"shapes-contrastive": {"reward": ["shapes-contrastive"], "unseen": ["shapes-verifier"]}},
    "seeds": 2,
    "evaluations": 2,
    "validation": {"name": "shapes-validation", "prompts": 4},
    "test": {"name": "shapes-test", "prompts": 4, "noise_seed": 2026},
    "claims": [
        {"statement": "Pairs are better.", "cell": "pair", "against": "single", "kind": "speed", "at_least": 10}
    ],
}
"""With LoRA, an epoch of `pair` takes 16 rows forward and 16 forward and backward, one of `single` half of that; both
take two optimizer steps."""

SCORE = "shapes-contrastive"

OFFSETS = (-0.02, -0.01, 0.01, 0.02)
"""What the prompts of a made-up evaluation differ from their mean by."""


def write(folder, **changes):
    """The plan as a file, with changes to its fields."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}, sort_keys=False))
    return str(path)


def plan(folder, **changes):
    """The plan, as a command reads it."""
    return load_plan([write(folder, **changes)])


def point(index, values, raw=None, offsets=OFFSETS):
    """The evaluation after 100 images, which take 200 rows forward, 100 forward and backward, and two steps."""
    prompts = {name: [value + offset for offset in offsets] for name, value in values.items()}
    raw_prompts = {name: [value + offset for offset in offsets] for name, value in (raw or {}).items()}
    return Point(
        epoch=index,
        steps=2 * index,
        images=100 * index,
        forwards=200 * index,
        trained=100 * index,
        differentiated=0,
        evaluations=500.0 * index,
        seconds=10.0 * index,
        values=values,
        raw=raw or {},
        prompts=prompts,
        raw_prompts=raw_prompts,
    )


def result(
    cell, scores, seed=0, stage="final", unseen=None, error=None, swept=None, steps_epoch=None, raw=None, **more
):
    """The result of a run with this training score at its start and after each of its evaluations.

    The unseen score is half of it, the diversity what is missing to 1, the sharpness .05.
    """
    curve = [
        point(
            index,
            {
                "reward": value,
                "shapes-verifier": unseen[index] if unseen else value / 2,
                "diversity": 1 - value,
                "sharpness": 0.05,
            },
            raw={"reward": raw} if raw is not None and index == len(scores) - 1 else None,
            **more,
        )
        for index, value in enumerate(scores)
    ]
    end = curve[-1]
    return Result(
        stage=stage,
        score=SCORE,
        cell=cell,
        seed=seed,
        swept=swept or {},
        recipe="shapes-smoke",
        settings={},
        prices={"trained": 3.0, "differentiated": 0.0},
        budget_epoch=end.epoch,
        steps_epoch=end.epoch if steps_epoch is None else steps_epoch,
        steps=end.steps,
        evaluations=end.evaluations,
        images=end.images,
        seconds=end.seconds,
        curve=[] if error else curve,
        error=error,
        phases={"sample": 2.0 * len(scores), "train": 3.0 * len(scores)},
        environment={
            "started": "2026-01-02T03:04:05+00:00",
            "system": "Linux x86_64",
            "libraries": dict.fromkeys(("fdfo", "torch", "diffusers", "transformers"), "1.0"),
            "devices": ["cpu"],
            "threads": 1,
        },
    )
