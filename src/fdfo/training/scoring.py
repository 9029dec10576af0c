"""Scores the samples of an epoch, batch by batch or all at the end. B samples of one rollout, N of the epoch."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fdfo.records import Prompt, Rollout, Scores
from fdfo.training.engine import Engine
from fdfo.training.fitting import components, fitting


class Scoring:
    """Scores of rollouts, in their order.

    Each batch is scored before the next one, or while it is sampled. Where networks take turns on the device, all
    images wait in host memory for the end, so that each network comes once an epoch; not for the score's gradient. So
    they do for people, who see each batch as soon as it is drawn, and choose while the next ones are.
    """

    def __init__(self, engine: Engine, num_prompts: int):
        self._engine = engine
        self._num_images = num_prompts * engine.method.group_size
        self._waits = (
            engine.reward.takes_turns or bool(engine.reward.asked.names)
        ) and not engine.method.needs_score_gradient
        self._rollouts: list[list[Prompt]] = []
        """The prompts of the images that wait, rollout by rollout."""
        self._images: Tensor | None = None
        """The images that wait, [N, 3, H, W] on the CPU."""
        self._under_way: Callable[[], Scores] | None = None
        self._done: list[Scores] = []

    def add(self, rollout: Rollout, images: Tensor) -> None:
        """Images [B, 3, H, W] of a rollout."""
        owners = rollout.sample_prompts
        if self._waits:
            if self._images is None:
                self._images = torch.empty(self._num_images, *images.shape[1:])
            start = sum(map(len, self._rollouts))
            self._images[start : start + len(images)] = images
            self._rollouts.append(owners)
            reward, size = self._engine.reward, self._engine.method.group_size
            reward.asked.expect(images, [prompt.text for prompt in owners], size, self._num_images)
            return
        self._collect()
        self._under_way = self._engine.begin(self._work(owners, images, None))

    def add_with_gradient(self, rollout: Rollout, x0: Tensor, images: Tensor) -> None:
        """Images [B, 3, H, W] of a rollout, decoded from x0 [B, C, H, W]; their scores are there at once."""
        work = self._work(rollout.sample_prompts, images, x0)
        with self._engine.phases("score"):  # not in a thread, which would keep the tensors of a failed attempt
            self._done.append(work())

    def finish(self) -> list[Scores]:
        """The scores of each rollout, on the CPU."""
        if self._images is not None:
            owners = [prompt for part in self._rollouts for prompt in part]
            scores = self._engine.begin(self._work(owners, self._images, None))()
            return _split(scores, [len(part) for part in self._rollouts])
        self._collect()
        return self._done

    def _collect(self) -> None:
        if self._under_way is not None:
            self._done.append(self._under_way())

    def _work(self, owners: list[Prompt], images: Tensor, x0: Tensor | None) -> Callable[[], Scores]:
        engine, texts, metadata = self._engine, [p.text for p in owners], [p.metadata for p in owners]

        def judge() -> Scores:
            with torch.set_grad_enabled(x0 is not None):  # the setting belongs to a thread
                size = engine.method.group_size
                score = partial(components, engine, engine.reward, images, texts, metadata, group_size=size)
                # Where gradients are kept, smaller pieces would need as much.
                found = fitting(engine, "score_batch", score) if x0 is None else score()
                total = engine.reward.standardized_total(found, engine.reward.applied(metadata))
                gradient = None if x0 is None else torch.autograd.grad(total.nansum(), x0)[0].cpu()
            total = total.detach().cpu()
            of_each = {name: values.detach().cpu() for name, values in found.items()}
            return Scores(total=total, components=of_each, batch=total, gradient=gradient)

        return judge


def _split(scores: Scores, sizes: list[int]) -> list[Scores]:
    """Scores of several rollouts, rollout by rollout."""
    totals = scores.total.split(sizes)
    components = {name: values.split(sizes) for name, values in scores.components.items()}
    return [
        Scores(total=total, components={name: parts[i] for name, parts in components.items()}, batch=total)
        for i, total in enumerate(totals)
    ]
