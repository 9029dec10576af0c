"""Gradient estimates at fixed weights, by the training loop's own sampling, credit and loss; and the exact gradient."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdfo.comparison.cells import Configurations, Run, first_setting
from fdfo.comparison.counting import EpochCost
from fdfo.comparison.prices import Rates, rates
from fdfo.comparison.signal import Products
from fdfo.config.tree import Config
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.solve import integrate
from fdfo.prompts.source import ListSource
from fdfo.records import Prompt
from fdfo.training.batching import deal
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.engine import Engine
from fdfo.training.epoch import accumulate, credited, sample
from fdfo.training.folder import environment
from fdfo.training.interrupt import StopRequest
from fdfo.training.recorded_scores import take_recorded
from fdfo.training.setup import build_engine, training_prompts

EXACT = "exact"
"""Name of the exact gradient among the cells."""

PIECE = 2**20
"""Elements of a gradient that are multiplied at a time."""


@dataclass(frozen=True)
class Probed:
    """The estimates of one cell, trained on one score."""

    score: str
    cell: str
    cost: EpochCost
    """Cost of one estimate."""
    prices: Rates
    seconds: float
    """Seconds of one estimate, counted as for a run: processor time if there is no other device."""
    products: Products
    environment: Mapping[str, Any]
    """Versions, devices and time."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-like content, inner products to eight digits."""
        products = {
            name: [[float(f"{value:.7e}") for value in row] for row in values]
            for name, values in vars(self.products).items()
        }
        four = {"steps": 1, "evaluations": self.evaluations, "images": self.cost.images, "seconds": self.seconds}
        rest = {"cost": asdict(self.cost), "prices": asdict(self.prices), "products": products}
        return {**vars(self), **four, **rest}

    @property
    def evaluations(self) -> float:
        """Network evaluations of one estimate, everything charged."""
        return self.prices.evaluations(self.cost)

    @staticmethod
    def from_dict(content: dict[str, Any]) -> "Probed":
        """Back from `to_dict`."""
        arrays = {name: np.asarray(values, dtype=np.float64) for name, values in content["products"].items()}
        arrays["cross"] = arrays["cross"].reshape(len(arrays["own"]), len(arrays["exact"]))
        arrays["exact"] = arrays["exact"].reshape(len(arrays["exact"]), len(arrays["exact"]))
        known = {field.name: content[field.name] for field in fields(Probed)}
        cost, prices = EpochCost(**content["cost"]), Rates(**content["prices"])
        return Probed(**{**known, "cost": cost, "prices": prices, "products": Products(**arrays)})


class Prober:
    """Probes the cells of a plan, each with `batches` estimates, at the base weights or those of a checkpoint."""

    def __init__(
        self, configurations: Configurations, batches: int, checkpoint: Path | None, team: Team, stop: StopRequest
    ):
        self.configurations, self.batches, self.checkpoint = configurations, batches, checkpoint
        self.team, self.stop = team, stop
        self._exact: dict[str, list[Tensor]] = {}

    def go(self, keep: Callable[[Probed], None]) -> None:
        """Probe every cell on every score; hand over each as it is done, the exact gradient itself first.

        Its own estimates are one half of the exact gradients, compared with the other half. Raises Interrupted.
        """
        plan = self.configurations.plan
        for score in plan.scores:
            for cell in plan.cells:
                if score in plan.scores_of(cell):
                    run = Run("final", score, cell, first_setting(plan, cell), plan.seeds[0])
                    self._probe(score, cell, self.configurations.load(run), keep)

    def _probe(self, score: str, cell: str, config: Config, keep: Callable[[Probed], None]) -> None:
        engine = build_engine(config, self.team, self.stop, Console(False, 1))
        weights = engine.policy.weights
        if self.checkpoint is not None:
            weights.set(weights.read(self.checkpoint))
        source = training_prompts(config, self.team)
        prices, counted = self.configurations.rates(config), self.configurations.cost(config)
        exact: list[Tensor] = []
        if engine.reward.differentiable:
            key = repr((score, config.policy, config.prompts, config.eval.steps))
            if key not in self._exact:
                self._exact[key], cost, seconds = self._exact_gradients(engine, source)
                halves = products(self._exact[key][::2], self._exact[key][1::2])
                charged = rates(self.configurations.plan.prices, config, cost)
                keep(Probed(score, EXACT, cost, charged, seconds, halves, environment()))
            exact = self._exact[key]
        own, cost, seconds = self._estimates(engine, source)
        cost = replace(cost, differentiated=counted.differentiated)
        keep(Probed(score, cell, cost, prices, seconds, products(own, exact), environment()))

    def _estimates(self, engine: Engine, source: ListSource) -> tuple[list[Tensor], EpochCost, float]:
        """Gradients of independent batches, and the mean cost and seconds of one."""
        count, seed = engine.config.prompts.pairs_per_epoch, engine.config.train.seed
        engine.policy.take_use()
        gradients, images, started = [], 0, _clock_s(engine)
        for batch in range(self.batches):
            noise = NoiseStreams(seed, batch)
            sampled = sample(engine, source.take(batch, count), noise)
            items = credited(engine, sampled)
            (rows,) = deal(items.sample_number[:, 0], items.num_times, 1, noise)
            accumulate(engine, items, rows)
            scored_in_loss = next(iter(take_recorded(engine)[0].values()))
            images += int(sampled.metrics.get("images", len(scored_in_loss)))
            gradients.append(_flat_gradient(engine))
        seconds = (_clock_s(engine) - started) / self.batches
        return gradients, _mean_cost(engine, images, self.batches), round(seconds, 3)

    def _exact_gradients(self, engine: Engine, source: ListSource) -> tuple[list[Tensor], EpochCost, float]:
        """As `_estimates`, of minus the mean score, through every step of the evaluation's sampler."""
        count, seed = engine.config.prompts.pairs_per_epoch, engine.config.train.seed
        engine.policy.take_use()
        gradients, started = [], _clock_s(engine)
        for batch in range(self.batches):
            prompts = source.take(self.batches + batch, count)  # not those of the estimates
            exact_gradient(engine, prompts, NoiseStreams(seed, batch))
            gradients.append(_flat_gradient(engine))
        seconds = (_clock_s(engine) - started) / self.batches
        cost = replace(_mean_cost(engine, count * self.batches, self.batches), differentiated=count)
        return gradients, cost, round(seconds, 3)


def exact_gradient(engine: Engine, prompts: list[Prompt], noise: NoiseStreams) -> None:
    """Put the gradient of minus the mean score of one image for each prompt into the parameters."""
    policy, steps = engine.policy, engine.config.eval.steps
    grid, size = policy.grid(steps).tolist(), max(1, engine.micro_batch // steps)
    engine.optimizer.zero_grad(set_to_none=True)
    for start in range(0, len(prompts), size):
        engine.stop.check()
        part = prompts[start : start + size]
        texts, metadata = [prompt.text for prompt in part], [prompt.metadata for prompt in part]
        cond = policy.encode(texts)
        z = noise.normal(policy.latent_shape, "exact", [prompt.number for prompt in part]).to(policy.device)
        x0 = integrate(lambda x, t, cond=cond: policy.velocity(x, t, cond), z, grid)
        scores = engine.reward(policy.decode(x0), texts, metadata)
        (-scores.sum() / len(prompts)).backward()


def products(own: list[Tensor], exact: list[Tensor]) -> Products:
    """Inner products of gradients [N] each, evaluated in float64 in pieces."""
    both, count = [*own, *exact], len(own)
    gram = np.zeros((len(both), len(both)))
    for start in range(0, len(both[0]), PIECE):
        piece = torch.stack([gradient[start : start + PIECE] for gradient in both]).double()
        gram += (piece @ piece.T).numpy()
    return Products(own=gram[:count, :count], cross=gram[:count, count:], exact=gram[count:, count:])


def _clock_s(engine: Engine) -> float:
    """A clock in seconds: the processor's where there is no other device, which other work does not change."""
    return time.process_time() if engine.policy.device.type == "cpu" else time.monotonic()


def _flat_gradient(engine: Engine) -> Tensor:
    """All gradients as one vector [N] on the CPU; zero where there is none."""
    parameters = engine.policy.trainable()
    parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    return torch.cat([part.detach().flatten().cpu() for part in parts])


def _mean_cost(engine: Engine, images: int, batches: int) -> EpochCost:
    use = engine.policy.take_use()
    return EpochCost(images // batches, use.forward // batches, use.trained // batches)
