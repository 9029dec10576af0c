"""Every method on the tiny world with a quadratic score, in the real loop."""

import torch
from accelerate import Accelerator

from fdfo.config.tree import Config
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.solve import integrate
from fdfo.plugins import find
from fdfo.records import Prompt, Scores
from fdfo.rewards.asked import Asked
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.engine import Engine
from fdfo.training.epoch import sample, update
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import Phases

TARGET = 1.0

SETTINGS = {
    "fdfo": {"steps": 4, "strength": 0.01},
    "flow_grpo": {"steps": 4, "group_size": 4, "kl_weight": 0.0, "clip_range": 0.01},
    "ddpo": {"steps": 4, "buffer_size": 8, "needed_scores": 2, "clip_range": 0.01},
    "refl": {"steps": 4},
    "draft": {"steps": 4},
    "nft": {"steps": 4, "group_size": 4, "trained_times": 3},
    "awm": {"steps": 6, "group_size": 4, "trained_times": 3},
    "art": {"steps": 4, "group_size": 4},
    "rvm": {"steps": 4, "group_size": 4},
    "opsd": {"steps": 4, "group_size": 4},
}
"""Small settings of every method; one update an epoch fits them all."""

VARIANTS = {
    **{name: (name, {}) for name in SETTINGS},
    "fdfo-four": ("fdfo", {"branches": 4, "trained_times": 2, "kl_weight": 0.1}),
    "fdfo-interval": ("fdfo", {"schedule": "random_interval", "time_weight": "perturbation"}),
    "fdfo-prior": ("fdfo", {"schedule": "prior_only", "normalize_gap": False}),
    "fdfo-apart": ("fdfo", {"start": "independent", "strength": 0.0, "branches": 4, "weight": "unit"}),
    "fdfo-antithetic": ("fdfo", {"antithetic": True, "branches": 4, "shared_steps": 1, "norm_weight": 0.1}),
    "fdfo-one-noisy": ("fdfo", {"deterministic_branch": True, "objective": "regression", "weight": "unit"}),
    "fdfo-gradient": ("fdfo", {"direction": "score_gradient"}),
    "flow_grpo-window": ("flow_grpo", {"window": 2, "kl_weight": 0.1, "spread": "group"}),
    "flow_grpo-cps": ("flow_grpo", {"sampler": "cps", "window": 2, "window_place": "sliding", "window_epochs": 1}),
    "flow_grpo-some": ("flow_grpo", {"trained_times": 2, "window": 3}),
    "flow_grpo-fast": (
        "flow_grpo",
        {"steps": 6, "window": 2, "window_place": "first_half", "shared_prefix": True, "sampler": "cps"},
    ),
    "flow_grpo-mask": ("flow_grpo", {"trust_region": "divergence", "divergence_limit": 0.1, "kl_form": "paper"}),
    "ddpo-four": ("ddpo", {"images_per_prompt": 4, "needed_scores": 4}),
    "ddpo-score": ("ddpo", {"form": "score_function", "trained_times": 2}),
    "refl-margin": ("refl", {"margin": 0.5, "kl_weight": 1e-4, "late_share": 0.5, "solver": "multistep"}),
    "draft-3": ("draft", {"last_steps": 3}),
    "draft-all": ("draft", {"last_steps": "all", "checkpointing": False, "solver": "heun"}),
    "draft-lv": ("draft", {"copies": 2}),
    "draft-random": ("draft", {"last_steps": "random"}),
    "draft-random-heun": ("draft", {"last_steps": "random", "solver": "heun", "checkpointing": False}),
    "nft-uniform": ("nft", {"time_density": "uniform", "solver": "heun", "beta": 0.5, "old_decay_rate": 0.2}),
    "nft-guarded": ("nft", {"norm_weight": 0.1, "time_density": "sampler"}),
    "art-wins": ("art", {"scores": "wins", "trained_times": 2, "error_weighting": "clean", "kl_weight": 0.01}),
    # its anchor has weight 1, so the advantages decide how far from the base it comes to rest
    "rvm-ram": ("rvm", {"form": "ram", "advantage_scale": 10.0, "norm_weight": 0.01}),
    "opsd-half": ("opsd", {"beta": 0.5, "kl_weight": 1e-3, "solver": "multistep", "spread": "group"}),
    "awm-plain": (
        "awm",
        {
            "weighting": "clean",
            "clip_range": 0.01,
            "advantage_max": 5.0,
            "average_weight": 0.0,
            "on_policy": False,
            "solver": "multistep",
        },
    ),
}


class Quadratic:
    """A constant less |image - TARGET|^2; a Reward, and the weighted sum of itself."""

    differentiable = True
    takes_turns = False

    def __init__(self, constant=0.0):
        self.constant = constant

    def load(self, device, dtype):
        pass

    def __call__(self, images, prompts, metadata):
        return self.constant - (images - TARGET).square().flatten(1).sum(1).double()

    names, failures = ("quadratic",), {}
    asked = Asked({}, {})

    def components(self, images, prompts, metadata, **batches):
        return {"quadratic": self(images, prompts, metadata)}

    def applied(self, metadata):
        return {}  # it is asked about every image

    def total(self, components, applied=None):
        return components["quadratic"]

    standardized_total = total

    def observe(self, components):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass


def make(variant, **settings):
    """A method by its variant's name."""
    name, changes = VARIANTS[variant]
    method = find("methods", name)
    return method(method.Config(**{**SETTINGS[name], **changes, **settings}))


def start_averages(method, policy):
    for name in method.averages:
        policy.weights.snapshots[name] = policy.weights.copy()


def prompts(count, first=0):
    """Eight texts over and over."""
    return [Prompt(text=f"prompt {(first + i) % 8}", number=first + i) for i in range(count)]


def scored(method, rollout, epoch_prompts=None, batch=None):
    """Scores of a rollout; `batch` are the totals of all its peers as well. Observed by the method's memory."""
    x0 = rollout.x0.detach().requires_grad_()
    total = Quadratic()(x0, [], [])
    (gradient,) = torch.autograd.grad(total.sum(), x0)
    total = total.detach()
    batch = total.clone() if batch is None else batch
    if method.memory is not None:
        method.memory.observe(epoch_prompts or rollout.prompts, batch)
    gradient = gradient if method.needs_score_gradient else None
    return Scores(total=total, components={}, batch=batch, gradient=gradient)


def flat(items):
    """All rows of items, samples in order."""
    samples, times = torch.meshgrid(torch.arange(items.num_samples), torch.arange(items.num_times), indexing="ij")
    return items.rows(samples.flatten(), times.flatten())


def in_float64(policy, items):
    """The rows in float64, and the policy's weights; the base stays zero."""
    policy.offset.data = policy.offset.data.double()
    return items._map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def make_engine(method, policy, lr=0.03, micro_batch=64, updates=1, ema=None):
    """The real loop's engine around the world."""
    config = Config.model_validate(
        {"method": method.config, "reward": ["jpeg"], "optim": {"lr": lr, "updates_per_epoch": updates, "ema": ema}}
    )
    team = Team(Accelerator(cpu=True))
    start_averages(method, policy)
    average = None
    if ema is not None:
        average = policy.weights.snapshots["ema"] = policy.weights.copy()
    return Engine(
        config=config,
        team=team,
        policy=policy,
        method=method,
        reward=Quadratic(),
        optimizer=torch.optim.AdamW(policy.trainable(), lr=lr, weight_decay=0.0),
        phases=Phases(team.device),
        stop=StopRequest(),
        sample_batch=64,
        score_batch=64,
        micro_batch=micro_batch,
        console=Console(False, 1),
        overlap=False,
        ema=average,
    )


def train(engine, epochs, count=8, first=0):
    """Epochs of the real loop; the metrics of the last update."""
    metrics = {}
    for epoch in range(first, first + epochs):
        noise = NoiseStreams(seed=0, epoch=epoch)
        metrics = update(engine, sample(engine, prompts(count), noise), noise)[-1]
    return metrics


def held_out_scores(policy, count=256):
    """Scores [count] of the ODE's images from starts that are never trained on."""
    cond = policy.encode([""] * count)
    z = NoiseStreams(seed=1).normal(policy.latent_shape, "start", range(count))
    with torch.no_grad():
        x0 = integrate(lambda x, t: policy.velocity(x, t, cond), z, policy.grid(6).tolist())
    return Quadratic()(x0, [], [])
