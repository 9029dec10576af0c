"""Plans and results of two tiny cells, for tests."""

import yaml

from fdfo.comparison.plan import load_plan
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
"""With LoRA, an epoch of `pair` takes 16 rows forward and 16 forward and backward, one of `single` half of that."""

SCORE = "shapes-contrastive"


def write(folder, **changes):
    """The plan as a file, with changes to its fields."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}, sort_keys=False))
    return str(path)


def plan(folder, **changes):
    """The plan, as a command reads it."""
    return load_plan([write(folder, **changes)])


def result(cell, scores, seed=0, stage="final", point=0, unseen=None, error=None, **settings):
    """The result of a run with this training score at its start and after each of its evaluations.

    An evaluation every 100 images, which take 200 rows forward and 100 forward and backward (cost 3): 500 evaluations.
    """
    curve = [
        Point(
            epoch=index,
            images=100 * index,
            forwards=200 * index,
            trained=100 * index,
            seconds=10.0 * index,
            values={"reward": value, "shapes-verifier": unseen[index] if unseen else value / 2, "diversity": 1 - value},
        )
        for index, value in enumerate(scores)
    ]
    return Result(
        stage=stage,
        score=SCORE,
        cell=cell,
        point=point,
        seed=seed,
        swept={},
        recipe="shapes-smoke",
        settings=settings,
        trained_cost=3.0,
        curve=[] if error else curve,
        error=error,
        seconds={"sample": 2.0 * len(scores), "train": 3.0 * len(scores)},
        environment={
            "started": "2026-01-02T03:04:05+00:00",
            "system": "Linux x86_64",
            "libraries": dict.fromkeys(("fdfo", "torch", "diffusers", "transformers"), "1.0"),
            "devices": ["cpu"],
            "threads": 1,
        },
    )
