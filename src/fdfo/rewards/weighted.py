"""Several rewards as one: the weighted sum of checked components.

B images with one prompt each; the n images of a group, where there are groups, are adjacent and share their prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fdfo.config.scores import distinct
from fdfo.errors import FdfoError, RewardError, is_out_of_memory
from fdfo.rewards.build import build_reward
from fdfo.rewards.moments import RunningMoments
from fdfo.rewards.pairwise import group_scores
from fdfo.rewards.scores import as_scores, failed_kinds, usable
from fdfo.rewards.user import raised_at
from fdfo.visiting import move, visiting

if TYPE_CHECKING:
    from fdfo.config.tree import RewardConfig
    from fdfo.interfaces import Reward

EMBEDDED = 64
"""Images that are moved to a network's device at a time to be embedded."""

_OTHER_PLACE = "name another device for it, or a smaller model"
"""Where memory does not suffice and there is nothing to divide."""
_NO_RETURN = (
    "a network in 8bit does not leave its device (bitsandbytes keeps the weights there); use quantize: 4bit, or remove "
    "offload"
)

_log = logging.getLogger(__name__)


class WeightedSum:
    """A Reward made of rewards."""

    def __init__(self, entries: Sequence[RewardConfig]):
        """Build the reward of every entry, without loading anything.

        Raises RewardError with the problems of all entries.
        """
        self.names = distinct([entry.title for entry in entries])
        """Title of every component; the second of the same title is "title#2"."""
        self.weights = [entry.weight for entry in entries]
        self._devices = [entry.device for entry in entries]
        self._offloaded = {name for name, entry in zip(self.names, entries, strict=True) if entry.offload}
        self._device: torch.device | None = None
        self._placed: dict[str, torch.device] = {}
        self._black_told = False
        self.failures: dict[str, str] = {}
        """What a component returned instead of finite scores, the last time that it did."""
        self.rewards: list[Reward] = []
        problems = [f"reward {entry.title!r}: {_NO_RETURN}" for entry in entries if entry.offload and _in_8bit(entry)]
        for entry in entries:
            try:
                self.rewards.append(build_reward(entry))
            except FdfoError as error:
                problems.append(str(error))
        if problems:
            raise RewardError("\n".join(problems))
        built = zip(self.names, entries, self.rewards, strict=True)
        self._batch_sizes = {name: _batch_size(entry, reward) for name, entry, reward in built}
        self.differentiable = all(reward.differentiable for reward in self.rewards)
        named = zip(self.names, entries, strict=True)
        self._moments = RunningMoments([name for name, entry in named if entry.standardize])

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Load all of them, on `device` or their own. Raises RewardError when one cannot be loaded."""
        self._device = _numbered(torch.device(device))
        for name, reward, own in zip(self.names, self.rewards, self._devices, strict=True):
            with _blaming(name, "while loading", _OTHER_PLACE):
                self._placed[name] = _numbered(torch.device(own or device))
                reward.load(self._placed[name], dtype)
            if name in self._offloaded and not hasattr(reward, "networks"):
                raise RewardError(f"reward {name!r}: it has no network here to offload; remove offload")
            with self._on_device(name, reward):
                pass

    @contextmanager
    def _on_device(self, name: str, reward: Reward) -> Iterator[None]:
        """The networks of a reward, which another one may share, on its device; offloaded ones leave it afterwards."""
        networks = getattr(reward, "networks", ())
        with ExitStack() as stack:
            with _blaming(name, "while its network was moved to its device", _OTHER_PLACE):
                if name in self._offloaded:
                    stack.enter_context(visiting(networks, self._placed[name]))
                else:
                    for network in networks:
                        move(network, self._placed[name])
            yield

    @property
    def pairwise(self) -> list[str]:
        """Names of the components that compare the images of a group."""
        return [name for name, reward in zip(self.names, self.rewards, strict=True) if _is_pairwise(reward)]

    @property
    def is_remote(self) -> bool:
        """Whether a component is computed elsewhere, so that this process only waits."""
        return any(getattr(reward, "remote", False) for reward in self.rewards)

    @property
    def takes_turns(self) -> bool:
        """Whether networks come to the device to score and leave it: worth as many images at a time as there are."""
        return bool(self._offloaded)

    @property
    def embedders(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """By name, what embeds images [B, 3, H, W] as [B, D], for the rewards that can; loaded or not."""

        def embedder(name: str, reward: Any) -> Callable[[Tensor], Tensor]:
            def embed(images: Tensor) -> Tensor:
                with self._on_device(name, reward):
                    pieces = images.split(EMBEDDED)
                    return torch.cat([reward.image_features(piece.to(self._placed[name])) for piece in pieces])

            return embed

        named = zip(self.names, self.rewards, strict=True)
        return {name: embedder(name, reward) for name, reward in named if hasattr(reward, "image_features")}

    def components(
        self,
        images: Tensor,
        prompts: Sequence[str],
        metadata: Sequence[Mapping[str, Any]],
        *,
        group_size: int = 1,
        batch: int | None = None,
        watch: Callable[[], None] = lambda: None,
    ) -> dict[str, Tensor]:
        """Scores [B] float64 of each reward, by name, on the device of images [B, 3, H, W] in [0, 1].

        One reward after the other scores all images, in whole groups of up to `batch` images if given; images in host
        memory are moved for that, and `watch` is called before each. Pairwise rewards compare each group of
        `group_size` images, and are 0 for an image alone (pairwise.py).
        NaN marks a failed item: a score that is not finite, or an image that is not. Rewards that are not
        differentiable get a copy of the images, without gradient. Raises RewardError when a reward raises, or returns
        anything but one number per image.
        """
        assert len(images) == len(prompts) == len(metadata) > 0
        valid = images.detach().isfinite().flatten(1).all(1)  # [B]
        self._tell_if_black(images, prompts)
        size = len(images) if batch is None else max(1, batch // group_size) * group_size
        pieces = [slice(start, start + size) for start in range(0, len(images), size)]
        scores = {}
        for name, reward in zip(self.names, self.rewards, strict=True):
            tracked = torch.is_grad_enabled() and reward.differentiable
            judge = self._checked(name, reward, tracked)
            parts = []
            with torch.set_grad_enabled(tracked), self._on_device(name, reward):
                for piece in pieces:
                    watch()
                    given = images[piece].to(self._device or images.device)
                    given = given if reward.differentiable else given.detach().clone()
                    if _is_pairwise(reward):
                        part = group_scores(judge, given, prompts[piece], metadata[piece], group_size)
                    else:
                        part = judge(given, prompts[piece], metadata[piece])
                    parts.append(part.to(images.device))
            scores[name] = torch.cat(parts).where(valid, torch.nan)
        return scores

    def total(self, components: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum [B] of what `components` returned; NaN where any of them is."""
        assert self.names
        return torch.stack([w * components[name] for name, w in zip(self.names, self.weights, strict=True)]).sum(0)

    def standardized_total(self, components: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum [B] to train on: components that ask for it are standardised by all that was observed.

        Without such components, `total`.
        """
        return self.total({name: self._moments.standardized(name, components[name]) for name in self.names})

    def observe(self, components: Mapping[str, Tensor]) -> None:
        """Add scores [B], those of all processes, to what standardisation goes by; part of the training state."""
        self._moments.observe(components)

    def state(self) -> dict[str, Tensor]:
        """What was observed, as tensors on the CPU; empty without standardised components."""
        return self._moments.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state of the same components."""
        self._moments.restore(state)

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """The weighted sum [B] float64 to train on; see `components` and `standardized_total`."""
        return self.standardized_total(self.components(images, prompts, metadata))

    def _checked(self, name: str, reward: Reward, tracked: bool) -> Callable[..., Tensor]:
        """The reward, with what it returns converted and what it raises explained."""

        def judge(images: Tensor, *rest: Any) -> Tensor:
            when = _occasion(rest[-2])
            try:
                with _blaming(name, when, self._remedy(name, len(images))):
                    returned = reward(images, *rest)
                scores = as_scores(returned, name=name, images=images, gradient=tracked)
            except RewardError as error:
                if when in str(error):
                    raise
                raise RewardError(f"{error} ({when})") from error
            if kinds := failed_kinds(scores):
                self.failures[name] = kinds
            return scores.where(usable(scores), torch.nan)

        return judge

    def _remedy(self, name: str, count: int) -> str:
        """What to do where memory did not suffice for `count` images."""
        smaller = min(self._batch_sizes[name], count) // 2
        return f"try batch_size={smaller}" if smaller else _OTHER_PLACE

    def _tell_if_black(self, images: Tensor, prompts: Sequence[str]) -> None:
        """Once, one line: most scores judge black images like any others."""
        if not self._black_told and not bool(images.detach().any()):
            self._black_told = True
            cause = "a decoder that overflows in half precision, or weights that diverged"
            _log.warning("%s: all images are black, %s; look for %s", ", ".join(self.names), _occasion(prompts), cause)


def _occasion(prompts: Sequence[str]) -> str:
    return f"on {len(prompts)} images, the first for {prompts[0][:200]!r}"


def _batch_size(entry: RewardConfig, reward: Reward) -> int:
    """Images that a reward embeds at a time; 1 where it has no such option."""
    accepted = signature(type(reward)).parameters
    default = accepted["batch_size"].default if "batch_size" in accepted else 1
    size = entry.options.get("batch_size", default)
    return size if isinstance(size, int) else 1


def _in_8bit(entry: RewardConfig) -> bool:
    return entry.options.get("quantize") == "8bit"


def _numbered(device: torch.device) -> torch.device:
    """`cuda` with the number of this process's card, as tensors on it tell it; other threads may have another one."""
    is_open = device.type == "cuda" and device.index is None
    return torch.device("cuda", torch.cuda.current_device()) if is_open else device


def _is_pairwise(reward: Any) -> bool:
    return getattr(reward, "pairwise", False)


@contextmanager
def _blaming(name: str, when: str, remedy: str) -> Iterator[None]:
    """Name the reward in whatever it raises; running out of memory stays of its kind, for callers that try again."""
    try:
        yield
    except FdfoError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise torch.OutOfMemoryError(f"reward {name!r} ran out of memory {when}; {remedy}") from error
        raise RewardError(
            f"reward {name!r} failed {when}: {type(error).__name__}: {error}{raised_at(error)}"
        ) from error
