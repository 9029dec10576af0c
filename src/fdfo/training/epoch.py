"""One epoch of any method: sample, score, credit, update."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from fdfo.errors import RewardError
from fdfo.flow.noise import NoiseStreams
from fdfo.records import Items, Prompt, Rollout, Scores, move
from fdfo.training.ahead import encode_ahead
from fdfo.training.batching import deal, micro_batches, share
from fdfo.training.engine import Engine
from fdfo.training.finite import refuse_not_finite
from fdfo.training.fitting import fitting
from fdfo.training.recorded_scores import RecordingReward, take_recorded
from fdfo.training.schedule import learning_rate
from fdfo.training.score_metrics import components_of_all, score_metrics, stop_if_too_many_failed
from fdfo.training.scoring import Scoring

MAX_SKIPPED_UPDATES = 3
"""A run stops after so many updates in a row whose gradient is not finite."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """The scored samples of this process, and metrics over all processes."""

    rollouts: list[Rollout]
    scores: Sequence[Scores]
    pairs: Tensor  # [n, group, 3, H, W] uint8 images of the first groups
    metrics: dict[str, float]
    """Metrics of the scores; `update` fills them in if the loss scores images itself."""


def sample(
    engine: Engine,
    epoch_prompts: Sequence[Prompt],
    noise: NoiseStreams,
    shown: int = 0,
    next_prompts: Sequence[Prompt] = (),
) -> Sampled:
    """Sample and score this process's share of the epoch's prompts; keep the images of its first `shown` groups.

    Where the loss scores images itself, there are none yet, and every score is 0. While people choose, the prompts of
    the next epoch are encoded.
    """
    prompts = epoch_prompts[share(len(epoch_prompts), engine.team.rank, engine.team.size)]
    with engine.team.together(), engine.phases("encode"):
        engine.policy.prepare([prompt.text for prompt in prompts], watch=engine.stop.check)
    if not engine.method.needs_scores:
        return _sample_alone(engine, prompts, noise)
    rollouts: list[Rollout] = []
    scores: list[Scores] = []
    pictures: list[Tensor] = []
    with engine.team.together():
        scoring = Scoring(engine, len(prompts))
        start = 0
        while start < len(prompts):
            engine.stop.check()
            engine.console.phase("sample", start, len(prompts))
            draw = partial(_sampled, engine, scoring, prompts[start:], noise)
            rollout, images = fitting(engine, "sample_batch", draw)
            if not engine.method.needs_score_gradient:
                scoring.add(rollout, images)
            groups = images.unflatten(0, (-1, rollout.group_size))
            pictures.append((groups[: max(0, shown - start)].detach().cpu() * 255).round().to(torch.uint8))
            rollouts.append(move(rollout, "cpu"))
            start += len(rollout.prompts)
        encode_ahead(engine, prompts, next_prompts)
        scores = scoring.finish()
    components = components_of_all(engine, scores)
    engine.reward.observe(components)
    scores = [_in_trained_units(engine, *pair) for pair in zip(rollouts, scores, strict=True)]
    size = engine.method.group_size
    applied = engine.reward.applied([prompt.metadata for prompt in epoch_prompts for _ in range(size)])
    batch = engine.reward.standardized_total(components, applied)
    metrics = score_metrics(engine, batch, components, applied)
    stop_if_too_many_failed(engine, rollouts, scores, metrics)
    if engine.method.memory is not None:
        engine.method.memory.observe(epoch_prompts, batch)
    scores = [replace(part, batch=batch) for part in scores]
    return Sampled(rollouts=rollouts, scores=scores, pairs=torch.cat(pictures), metrics=metrics)


def _in_trained_units(engine: Engine, rollout: Rollout, scores: Scores) -> Scores:
    """Replace the total by the standardised one, which depends on all scores observed so far."""
    applied = engine.reward.applied([prompt.metadata for prompt in rollout.sample_prompts])
    return replace(scores, total=engine.reward.standardized_total(scores.components, applied))


def _sample_alone(engine: Engine, prompts: Sequence[Prompt], noise: NoiseStreams) -> Sampled:
    """Sample rollouts of the prompts without decoding or scoring their images."""

    def draw() -> Rollout:
        with engine.phases("sample"):
            return engine.method.rollout(engine.policy, prompts[start : start + engine.sample_batch], noise)

    rollouts: list[Rollout] = []
    start = 0
    with engine.team.together():
        while start < len(prompts):
            engine.stop.check()
            engine.console.phase("sample", start, len(prompts))
            rollouts.append(move(fitting(engine, "sample_batch", draw), "cpu"))
            start += len(rollouts[-1].prompts)
    zeros = [torch.zeros(len(rollout.x0), dtype=torch.float64) for rollout in rollouts]
    scores = [Scores(total=total, components={}, batch=total) for total in zeros]
    return Sampled(rollouts=rollouts, scores=scores, pairs=torch.empty(0), metrics={})


def _sampled(
    engine: Engine, scoring: Scoring, prompts: Sequence[Prompt], noise: NoiseStreams
) -> tuple[Rollout, Tensor]:
    """A rollout of the first prompts and its images [B, 3, H, W].

    Where the method asks for the score's gradient, they are scored here: the images carry it to the endpoints, and what
    does not fit is drawn again with fewer of them.
    """
    with engine.phases("sample"):
        rollout = engine.method.rollout(engine.policy, prompts[: engine.sample_batch], noise)
    wants_gradient = engine.method.needs_score_gradient
    with torch.set_grad_enabled(wants_gradient), engine.phases("decode"):
        x0 = rollout.x0.detach().requires_grad_(wants_gradient)
        images = engine.policy.decode(x0)
    if wants_gradient:
        scoring.add_with_gradient(rollout, x0, images)
    return rollout, images


def update(engine: Engine, sampled: Sampled, noise: NoiseStreams) -> list[dict[str, float]]:
    """Credit the samples, take the epoch's optimizer steps and average their weights; the metrics of each step.

    What losses scored themselves is observed, and becomes the metrics of the samples.
    """
    items = credited(engine, sampled)
    updates = engine.config.optim.updates_per_epoch
    dealt = deal(items.sample_number[:, 0], items.num_times, updates, noise)
    assert noise.epoch is not None
    metrics = [_one_update(engine, items, rows, noise.epoch * updates + i) for i, rows in enumerate(dealt)]
    for name, decay in engine.method.averages.items():
        engine.policy.weights.average(name, decay(noise.epoch))
    if not engine.method.needs_scores:
        components, applied = take_recorded(engine)
        engine.reward.observe(components)
        trained = engine.reward.standardized_total(components, applied)
        sampled.metrics.update(score_metrics(engine, trained, components, applied))
        stop_if_too_many_failed(engine, [], [], sampled.metrics)
    return metrics


def credited(engine: Engine, sampled: Sampled) -> Items:
    """Make the trainable rows of all samples of this process, and free the rollouts."""
    parts = []
    while sampled.rollouts:  # each as soon as it is credited
        parts.append(engine.method.credit(sampled.rollouts.pop(0), sampled.scores[len(parts)]))
    return Items.cat(parts)


def accumulate(engine: Engine, items: Items, rows: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Put the gradient of the mean loss over the rows of all processes into the parameters; the mean metrics."""
    (count,) = engine.team.sum([len(rows[0])])
    sums: dict[str, Tensor | int] = {}
    with engine.team.together():
        sums = fitting(engine, "micro_batch", partial(_own_gradients, engine, items, rows, count))
    engine.team.sum_gradients(engine.policy.trainable())
    names = ("loss", *engine.method.metrics)
    totals = engine.team.sum([float(sums.get(name, 0.0)) for name in names])
    return {name: total / count for name, total in zip(names, totals, strict=True)}


def _own_gradients(engine: Engine, items: Items, rows: tuple[Tensor, Tensor], count: float) -> dict[str, Tensor | int]:
    """Put the gradient of this process's rows, over the count of all, into the parameters; sums of the metrics."""
    sums: dict[str, Tensor | int] = {}
    recording = RecordingReward(engine.reward)
    reward = engine.reward if engine.method.needs_scores else recording
    engine.optimizer.zero_grad(set_to_none=True)
    for index, (samples, times) in enumerate(micro_batches(rows, engine.micro_batch)):
        engine.stop.check()
        engine.console.phase("train", index * engine.micro_batch, len(rows[0]))
        part = items.rows(samples, times).to(engine.policy.device)
        output = engine.method.loss(engine.policy, part, reward)
        (output.losses.sum() / count).backward()
        for name, values in {"loss": output.losses.detach(), **output.metrics}.items():
            sums[name] = sums.get(name, 0) + values.double().sum()
    engine.recorded_scores += recording.recorded
    return sums


def debiased(decay: float, updates: int) -> float:
    """Decay of an average at its update number `updates`, counted from 0: min(d, (1 + n) / (10 + n)).

    With d alone, the average of a short run would be mostly the weights from before it.
    """
    return min(decay, (1 + updates) / (10 + updates))


def _one_update(engine: Engine, items: Items, rows: tuple[Tensor, Tensor], number: int) -> dict[str, float]:
    """Gradients of all micro-batches and processes, then one optimizer step if they are finite.

    `number` is that of the update in the run, from 0.
    """
    means = accumulate(engine, items, rows)
    parameters = engine.policy.trainable()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = float(get_total_norm(gradients))
    rate = learning_rate(engine.config, number)
    stepped = norm == norm and norm != float("inf")
    if stepped:
        with engine.team.together():
            limit = engine.config.optim.max_grad_norm
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, torch.tensor(norm))
            for group in engine.optimizer.param_groups:
                group["lr"] = rate
            engine.optimizer.step()
            if engine.ema is not None:
                assert engine.config.optim.ema is not None
                engine.policy.weights.average("ema", debiased(engine.config.optim.ema, number))
            refuse_not_finite(engine, number)
    _count_skipped(engine, stepped)
    return {**means, "gradient_norm": norm, "learning_rate": rate, "skipped": float(not stepped)}


def _count_skipped(engine: Engine, stepped: bool) -> None:
    engine.skipped_updates = 0 if stepped else engine.skipped_updates + 1
    if engine.skipped_updates >= MAX_SKIPPED_UPDATES:
        raise RewardError(
            f"the gradient was not finite in {MAX_SKIPPED_UPDATES} updates in a row; the weights are unchanged since. "
            "Lower optim.lr, or look for extreme scores in metrics.jsonl"
        )
