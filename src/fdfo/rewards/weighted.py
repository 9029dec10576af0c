"""Several rewards as one: the weighted sum of checked components.

B images with one prompt each; the n images of a group, where there are groups, are adjacent and share their prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fdfo.config.scores import distinct
from fdfo.errors import FdfoError, RewardError
from fdfo.guard.own import own_tensor
from fdfo.offload import move, temporarily_on
from fdfo.rewards.asked import Asked, asks_people
from fdfo.rewards.build import build_reward
from fdfo.rewards.checked import OTHER_PLACE, checked, occasion
from fdfo.rewards.entry import asks_twice, batch_size, guard_of, in_8bit, is_pairwise, misplaced, numbered
from fdfo.rewards.moments import RunningMoments
from fdfo.rewards.pairwise import close, group_scores, margin_problems, only_close, pairs_of
from fdfo.rewards.scores import as_features
from fdfo.rewards.when import Applied, Conditions, Given, of_asked, scored, weighted_sum

if TYPE_CHECKING:
    from fdfo.config.tree import RewardConfig
    from fdfo.interfaces import Reward

EMBEDDED = 64
"""Images that are moved to a network's device at a time to be embedded."""

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
        """What a component last returned instead of finite scores."""
        self.rewards: list[Reward] = []
        self._margins = {name: entry.undecided_within for name, entry in zip(self.names, entries, strict=True)}
        self.conditions = Conditions({name: entry.when for name, entry in zip(self.names, entries, strict=True)})
        problems = [f"reward {entry.title!r}: {_NO_RETURN}" for entry in entries if entry.offload and in_8bit(entry)]
        for entry in entries:
            try:
                self.rewards.append(build_reward(entry))
            except FdfoError as error:
                problems.append(str(error))
        if problems:
            raise RewardError("\n".join(problems))
        self.asked = Asked(dict(zip(self.names, self.rewards, strict=True)), self._margins)
        """The rewards that ask people."""
        built = list(zip(self.names, entries, self.rewards, strict=True))
        problems = margin_problems(self._margins, self.pairwise, self.asked.names)
        if problems := problems or [text for one in built for text in misplaced(*one)]:
            raise RewardError("\n".join(problems))
        self._both_orders = {name: asks_twice(entry, reward) for name, entry, reward in built}
        self._guards = {name: guard_of(name, entry, reward) for name, entry, reward in built}
        self._batch_sizes = {name: batch_size(entry, reward) for name, entry, reward in built}
        self.differentiable = all(reward.differentiable for reward in self.rewards)
        self._moments = RunningMoments([name for name, entry, _ in built if entry.standardize])
        self.standardizes = any(entry.standardize for entry in entries)

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Load all of them, on `device` or their own. Raises RewardError when one cannot be loaded."""
        self._device = numbered(torch.device(device))
        for name, reward, place in zip(self.names, self.rewards, self._devices, strict=True):
            guard, work = self._guards[name], partial(self._load, name, reward, place or device, dtype)
            guard("while loading", work, remedy=OTHER_PLACE, bounded=not guard.is_ours)  # ours may fetch weights first
            if name in self._offloaded and not self._has(name, reward, "networks"):
                raise RewardError(f"reward {name!r}: it has no network here to offload; remove offload")
            with self._on_device(name, reward):
                pass

    def _load(self, name: str, reward: Reward, device: torch.device | str, dtype: torch.dtype) -> None:
        self._placed[name] = numbered(torch.device(device))
        reward.load(self._placed[name], dtype)

    @contextmanager
    def _on_device(self, name: str, reward: Reward) -> Iterator[None]:
        """The networks of a reward, which another one may share, on its device; offloaded ones leave it afterwards."""

        def bring() -> None:
            networks = getattr(reward, "networks", ())
            if name in self._offloaded:
                stack.enter_context(temporarily_on(networks, self._placed[name]))
            else:
                for network in networks:
                    move(network, self._placed[name])

        with ExitStack() as stack:
            self._guards[name]("while its network was moved to its device", bring, remedy=OTHER_PLACE)
            yield

    @property
    def pairwise(self) -> list[str]:
        """Names of the components that compare the images of a group."""
        return [name for name, reward in zip(self.names, self.rewards, strict=True) if is_pairwise(reward)]

    @property
    def held_out(self) -> list[str]:
        """Names of the components that an evaluation asks: people are asked about training images alone."""
        return [name for name in self.names if name not in self.asked.names]

    @property
    def held_out_pairwise(self) -> list[str]:
        """Names of the components that an evaluation asks and that compare images."""
        return [name for name in self.pairwise if name in self.held_out]

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
        """Functions by name that embed images [B, 3, H, W] as [B, D], of the rewards that have one; loaded or not."""

        def embedder(name: str, reward: Any) -> Callable[[Tensor], Tensor]:
            def embed(images: Tensor) -> Tensor:
                guard = self._guards[name]

                def embed_piece(piece: Tensor) -> Tensor:
                    given = piece.to(self._placed[name])
                    given = given if guard.is_ours else own_tensor(given, images)
                    found = guard("while it embedded images", lambda: reward.image_features(given))
                    return as_features(found, name=name, images=piece)

                with self._on_device(name, reward):
                    return torch.cat([embed_piece(piece) for piece in images.split(EMBEDDED)])

            return embed

        named = zip(self.names, self.rewards, strict=True)
        return {name: embedder(name, reward) for name, reward in named if self._has(name, reward, "image_features")}

    def _has(self, name: str, reward: Reward, part: str) -> bool:
        return self._guards[name](f"where its {part} was read", lambda: hasattr(reward, part))

    def components(
        self,
        images: Tensor,
        prompts: Sequence[str],
        metadata: Sequence[Mapping[str, Any]],
        *,
        group_size: int = 1,
        batch: int | None = None,
        watch: Callable[[], None] = lambda: None,
        only: Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Scores [B] float64 of each reward, or `only` some, by name, on the device of images [B, 3, H, W] in [0, 1].

        One reward after the other scores all images, in whole groups of up to `batch` images if given; images in host
        memory are moved for that, and `watch` is called before each. Pairwise rewards compare each group of
        `group_size` images, and are 0 for an image alone (pairwise.py).
        NaN marks a failed item: a score that is not finite, or an image that is not; and those that a reward is not
        asked about (`applied` tells which). Rewards that are not differentiable get the images without gradient, and
        those that are not ours get copies of everything. Raises RewardError when a reward raises, or returns anything
        but one number per image.
        """
        assert len(images) == len(prompts) == len(metadata) > 0
        valid = images.detach().isfinite().flatten(1).all(1)  # [B]
        self._tell_if_black(images, prompts)
        size = len(images) if batch is None else max(1, batch // group_size) * group_size
        applied = self.applied(metadata)
        scores: dict[str, Tensor] = {}
        named = zip(self.names, self.rewards, strict=True)
        for name, reward in sorted(named, key=lambda pair: (self._margins[pair[0]] is not None, asks_people(pair[1]))):
            if only is not None and name not in only:
                continue
            if asks_people(reward):
                self.asked.weigh(name, self._undecided(name, scores, applied, len(images), group_size))
            is_left = self._margins[name] is not None and scores  # an evaluation may ask it alone
            others = self._weighted(scores, applied) if is_left else None
            given = Given(images, prompts, metadata, others, group_size)
            ask = partial(self._ask, name, reward, size=size, watch=watch)
            found = of_asked(ask, given, applied[name]) if name in applied else ask(given)
            scores[name] = found.where(valid, torch.nan)
        return {name: scores[name] for name in self.names if name in scores}

    def _ask(self, name: str, reward: Reward, given: Given, size: int, watch: Callable[[], None]) -> Tensor:
        """The scores [B] of one reward, in pieces of `size` images; people see all at once."""
        tracked = torch.is_grad_enabled() and reward.differentiable
        judge = checked(
            reward,
            name=name,
            guard=self._guards[name],
            batch_size=self._batch_sizes[name],
            tracked=tracked,
            kept=given.images,
            failures=self.failures,
        )
        whole = asks_people(reward)
        pieces = [slice(start, start + size) for start in range(0, len(given.images), size)]
        parts = []
        with torch.set_grad_enabled(tracked), self._on_device(name, reward):
            for piece in [slice(None)] if whole else pieces:
                watch()
                place = None if whole else self._device
                images = given.images[piece].to(place or given.images.device)
                images = images if reward.differentiable else images.detach()
                described = (given.prompts[piece], given.metadata[piece])
                if is_pairwise(reward):
                    margin, n, both = self._margins[name] or 0.0, given.group_size, self._both_orders[name]
                    asked = judge if given.others is None else only_close(judge, given.others[piece], margin, n)
                    part = group_scores(asked, images, *described, n, both_orders=both)
                else:
                    part = judge(images, *described)
                parts.append(part.to(given.images.device))
        return torch.cat(parts)

    def _undecided(
        self, name: str, scores: Mapping[str, Tensor], applied: Applied, count: int, group_size: int
    ) -> Tensor | None:
        """Which pairs of `count` images that people are asked about, [Q] bool, their choice can turn: in the sum that
        is trained on, the other scores [B] differ by what a choice weighs at most. None without other scores.

        Unknown, so all, where the others come later, or where one is standardised by what was not observed yet.
        """
        if not self.asked.has_others:
            return None
        undecided = torch.ones(len(pairs_of(count, group_size)[0]), dtype=torch.bool)
        measured = {other: values for other, values in scores.items() if other not in self.asked.names}
        if measured and self._moments.know([name, *measured]):
            gap = 2 / group_size  # of the scores of two images, by one choice: pairwise.py
            sides = self._moments.standardized(name, torch.tensor([gap / 2, -gap / 2], dtype=torch.float64))
            weighs = abs(self.weights[self.names.index(name)] * float(sides[0] - sides[1]))
            trained = {other: self._moments.standardized(other, values) for other, values in measured.items()}
            undecided = close(self._weighted(trained, applied), weighs, group_size).cpu()
        if (margin := self._margins[name]) is None:
            return undecided
        return undecided[close(self._weighted(scores, applied), margin, group_size).cpu()]

    def applied(self, metadata: Sequence[Mapping[str, Any]]) -> Applied:
        """Which images [B] with these metadata each component is asked about, of those with a `when`."""
        return self.conditions.applied(metadata)

    def _weighted(self, components: Mapping[str, Tensor], applied: Applied) -> Tensor:
        """The weighted sum [B] of some of them."""
        weights = dict(zip(self.names, self.weights, strict=True))
        return weighted_sum({name: weights[name] for name in components}, components, applied)

    def preferences(
        self,
        images: Tensor,
        others: Tensor,
        prompts: Sequence[str],
        metadata: Sequence[Mapping[str, Any]],
        **options: Any,
    ) -> dict[str, Tensor]:
        """How much each of the images is preferred to another one of its prompt, [B] by pairwise reward."""
        both = torch.stack([images, others], 1).flatten(0, 1)
        texts = [text for text in prompts for _ in range(2)]
        described = [entry for entry in metadata for _ in range(2)]
        scores = self.components(both, texts, described, group_size=2, only=self.held_out_pairwise, **options)
        return {name: values[0::2] - values[1::2] for name, values in scores.items()}

    def total(self, components: Mapping[str, Tensor], applied: Applied = MappingProxyType({})) -> Tensor:
        """The weighted sum [B] of `components`, all or some, with what is `applied` where some have a `when`.

        NaN where one of those that were asked is, or none was asked.
        """
        parts = {name: components[name] for name in self.names if name in components}
        total = self._weighted(parts, applied)
        some = scored(parts, applied)
        return total if some is None else total.where(some.to(total.device), torch.nan)

    def standardized_total(self, components: Mapping[str, Tensor], applied: Applied = MappingProxyType({})) -> Tensor:
        """The weighted sum [B] to train on: components that ask for it are standardised by all that was observed.

        Without such components, `total`.
        """
        return self.total({name: self._moments.standardized(name, x) for name, x in components.items()}, applied)

    def observe(self, components: Mapping[str, Tensor]) -> None:
        """Add scores [B], those of all processes, to what standardisation goes by; part of the training state."""
        self._moments.observe(components)

    def state(self) -> dict[str, Tensor]:
        """The observed moments as tensors on the CPU; empty without standardised components."""
        return self._moments.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state of the same components."""
        self._moments.restore(state)

    def __call__(
        self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]] | None = None
    ) -> Tensor:
        """The weighted sum [B] float64 to train on; see `components` and `standardized_total`."""
        described = metadata or [{} for _ in prompts]
        return self.standardized_total(self.components(images, prompts, described), self.applied(described))

    def _tell_if_black(self, images: Tensor, prompts: Sequence[str]) -> None:
        """Once, one line: most scores judge black images like any others."""
        if not self._black_told and not bool(images.detach().any()):
            self._black_told = True
            cause = "a decoder that overflows in half precision, or weights that diverged"
            _log.warning("%s: all images are black, %s; look for %s", ", ".join(self.names), occasion(prompts), cause)
