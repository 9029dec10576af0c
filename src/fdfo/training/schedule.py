"""The learning rate of an optimizer step; it depends on the step's number alone, so an interruption changes nothing."""

from math import cos, pi

from fdfo.config.tree import Config


def learning_rate(config: Config, number: int) -> float:
    """Of step `number` of the run, counted from 0, of N = train.epochs x optim.updates_per_epoch, with w of warm-up.

    While n < w it is lr (n + 1) / w; then lr f(p) at p = (n - w) / (N - w), where f is 1, 1 - p, or (1 + cos pi p) / 2.
    """
    optim, warmup = config.optim, config.optim.warmup
    if number < warmup:
        return optim.lr * (number + 1) / warmup
    share = (number - warmup) / max(1, config.train.epochs * optim.updates_per_epoch - warmup)
    factors = {"constant": 1.0, "linear": 1 - share, "cosine": (1 + cos(pi * share)) / 2}
    return optim.lr * factors[optim.schedule]
