"""What a pipeline gives its network, learnt by asking it, and given again for any rows and times.

The branches of guidance are numbered: 0 is the positive one, 1 the negative one.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fdfo.errors import ModelError
from fdfo.models.asking import ASKED_STEPS, Asked, Asking
from fdfo.models.families import Family, Wishes
from fdfo.models.structure import Row, arguments, row_of, slots, structure
from fdfo.records import Conditioning
from fdfo.words import plural

TIMES = ("timestep", "timesteps", "t")
"""Names of a network's argument for the time."""

START_TOLERANCE = 5e-3
"""Some solvers start so little below 1, to keep off their singularity; Euler steps start at 1."""

WHOLE_NUMBERS = 2e-3
"""Some schedulers round the numbers of their times, of which there are a thousand."""

ROUNDED_TWO_WAYS = 0.2707
"""A time that bfloat16 rounds to another one than a thousandth of what it rounds its number to."""

PROBE = "a"
"""The text by which the structure of a pipeline's calls is learnt."""


@dataclass(frozen=True)
class _Time:
    """What the network is told of the time: n / divisor + start, for the scheduler's number n of a time, in `dtype`.

    The number is that of the time before its shift by the image's size, where the pipeline shifts later (CogView4).
    """

    numbers: int
    shift: float
    divisor: float
    start: float
    dtype: torch.dtype
    rounds_number: bool
    """Whether the number is rounded to `dtype`, or only what is told."""

    def __call__(self, t: Tensor) -> Tensor:
        unshifted = t if self.shift == 1 else t / (self.shift - (self.shift - 1) * t)
        told = unshifted * self.numbers
        told = told.to(self.dtype) if self.rounds_number else told
        if self.divisor != 1:
            told = told / self.divisor
        return (told + self.start if self.start else told).to(self.dtype)


@dataclass(frozen=True)
class _Learnt:
    """The structure of a pipeline's calls."""

    latent: str
    """Name of the network's argument for states."""
    time: str
    forms: tuple[Any, ...]
    """Structure of the other arguments, by branch; the same object where it is the same."""
    is_doubled: bool
    """Whether both branches are one call of a doubled batch."""
    told: _Time


@dataclass(frozen=True)
class Call:
    """One evaluation of the network, of rows that share their shapes."""

    rest: Mapping[str, Any]
    """Its arguments beside states and times."""
    rows: Tensor | None
    """Rows [n] of the states; None: all of them, once."""


@dataclass(frozen=True)
class Calls:
    """The evaluations that a velocity of B rows takes."""

    calls: Sequence[Call]
    order: Tensor | None
    """Where, among their rows joined, those of the negative branch (if any) and then the positive lie; None: as is."""


class Recorder:
    """Rows of a pipeline's conditioning, one prompt at a time, and calls of its network with them."""

    def __init__(self, pipeline: Any, family: Family, wishes: Wishes, state_shape: Sequence[int]):
        self.family, self.wishes, self.state_shape = family, wishes, tuple(state_shape)
        self._name = type(pipeline).__name__
        self._asking = Asking(pipeline, call_arguments(pipeline, family, wishes), family.completed, wishes.shift)
        self._learnt: _Learnt | None = None
        self._shared: dict[tuple[str, torch.Size], Tensor] = {}
        self._grids: dict[int, Tensor] = {}

    @property
    def knows(self) -> bool:
        """Whether `learn` was called."""
        return self._learnt is not None

    @property
    def learnt(self) -> _Learnt:
        """Only after `learn`."""
        assert self._learnt is not None, "the pipeline was not asked yet"
        return self._learnt

    # ---- asking ----

    def learn(self, network: Any, device: torch.device, dtype: torch.dtype) -> None:
        """Find the structure of the pipeline's calls. Raises ModelError where it cannot be followed."""
        ask = {"device": device, "dtype": dtype}
        two = self._asking.record(network, PROBE, copies=2, **ask)
        one = self._asking.record(network, PROBE, **ask)
        self._check(one)
        latent, time = next(iter(one.calls[0])), next(name for name in TIMES if name in one.calls[0])
        rest = [[_without(call, latent, time) for call in asked.calls] for asked in (one, two)]
        try:
            forms = [structure(a, b) for a, b in zip(*rest, strict=True)]
        except ValueError as error:
            raise ModelError(f"{self._name}: {error}; it has no rows that could share a batch") from error
        if len(forms) == 2 and forms[0] == forms[1]:
            forms[1] = forms[0]
        is_doubled = len(forms) < self.wishes.branches
        heard = {
            at: self._asking.record(network, PROBE, at=at, again=True, **ask) for at in (0.5, 0.25, ROUNDED_TWO_WAYS)
        }
        moments = {1.0: one, **heard}
        shift = self._later_shift(*self._asking.times(network, ASKED_STEPS, **ask))
        told = self._time({at: asked.calls[0][time] for at, asked in moments.items()}, shift)
        self._learnt = _Learnt(latent, time, tuple(forms * (2 if is_doubled else 1)), is_doubled, told)

    def _check(self, asked: Asked) -> None:
        wanted, batch = self.wishes.branches, len(next(iter(asked.calls[0].values())))
        if (len(asked.calls), batch) not in ((wanted, 1), (1, wanted)):
            raise ModelError(
                f"{self._name}: for guidance {self.wishes.guidance:g} it evaluates its network {len(asked.calls)} "
                f"times, on {plural(batch, 'row')}, where {wanted} were expected"
                + ("; this model takes no guidance: use policy.guidance=1" if wanted == 2 else "")
            )
        if tuple(asked.state.shape[1:]) != self.state_shape:
            raise ModelError(
                f"{self._name}: policy.resolution={list(self.wishes.resolution)} becomes states of "
                f"{tuple(asked.state.shape[1:])} where {self.state_shape} were expected: it draws another size"
            )

    def _later_shift(self, sigmas: Tensor, numbers: Tensor) -> float:
        """The shift between the times that the network is told of and those of the scheduler, 1 where they are one.

        Raises ModelError where they differ otherwise.
        """
        inside = (sigmas[:-1] > 0) & (sigmas[:-1] < 1)
        t, u = sigmas[:-1][inside], numbers[inside] / int(self._asking.pipeline.scheduler.config.num_train_timesteps)
        if (t - u).abs().max() <= WHOLE_NUMBERS:
            return 1.0
        shifts = t * (1 - u) / (u * (1 - t))
        if shifts.max() - shifts.min() > 1e-3 * shifts.max():
            raise ModelError(
                f"{self._name}: its scheduler's times {t.tolist()} are told as {u.tolist()}, which no shift explains; "
                "set another scheduler in its folder"
            )
        return float(shifts.mean())

    def _time(self, told: Mapping[float, Tensor], shift: float) -> _Time:
        """The rule that the time follows. Raises ModelError where it is not affine."""
        value = {at: float(time.flatten()[0]) for at, time in told.items()}
        numbers = int(self._asking.pipeline.scheduler.config.num_train_timesteps)
        slope = (value[1.0] - value[0.5]) / (numbers / 2)
        start = value[1.0] - slope * numbers
        if abs(slope * numbers / 4 + start - value[0.25]) > 1e-3 * max(map(abs, value.values())):
            raise ModelError(f"{self._name}: what it tells its network of the time is not affine: {value}")
        rule = _Time(numbers, shift, 1 / slope, start, told[1.0].dtype, rounds_number=True)
        t = torch.tensor(ROUNDED_TWO_WAYS, dtype=torch.float32)
        before = replace(rule, shift=1.0)(t).float()
        close = abs(float(before) - value[ROUNDED_TWO_WAYS]) <= 1e-6 * abs(value[ROUNDED_TWO_WAYS])
        return replace(rule, rounds_number=close)

    def encode(self, network: Any, text: str, device: torch.device, dtype: torch.dtype) -> Row:
        """The row of a prompt, on the CPU: `0.encoder_hidden_states` and so on, `1.` for the negative branch.

        Raises ModelError where its structure differs from that of the first.
        """
        asked, learnt = self._asking.record(network, text, device=device, dtype=dtype), self.learnt
        parts, row = 2 if learnt.is_doubled else 1, {}
        for branch, form in enumerate(learnt.forms):
            call = _without(asked.calls[0 if learnt.is_doubled else branch], learnt.latent, learnt.time)
            place = branch if self.family.positive_first else parts - 1 - branch
            try:
                tensors = row_of(form, call, place if learnt.is_doubled else 0, parts)
            except ValueError as error:
                raise ModelError(
                    f"{self._name}: the prompt {text[:80]!r} changes more than tensors: {error}; leave it out"
                ) from error
            self._check_shared(form, tensors, text)
            row |= {f"{branch}.{name}": tensor for name, tensor in tensors.items()}
        return row

    def _check_shared(self, form: Any, tensors: dict[str, Tensor], text: str) -> None:
        """What all rows of a batch share must be the same for all prompts of a shape. Raises ModelError."""
        for name in (slot.name for slot in slots(form) if slot.dim is None):
            known = self._shared.setdefault((name, tensors[name].shape), tensors[name])
            if not torch.equal(known, tensors[name]):
                raise ModelError(f"{self._name}: {name} depends on the prompt ({text[:80]!r}) and has no rows")

    def grid(self, network: Any, steps: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Times [steps + 1] as its scheduler is set; only after `learn`. Raises ModelError for what is no such path."""
        if steps not in self._grids:
            grid, _ = self._asking.times(network, steps, device=device, dtype=dtype)
            falls = bool((grid.diff() < 0).all()) and len(grid) == steps + 1
            if not (falls and abs(float(grid[0]) - 1) < START_TOLERANCE and grid[-1] == 0):
                raise ModelError(
                    f"{self._name}: its scheduler's {plural(steps, 'step')} go {grid.tolist()}, not down from 1 to 0; "
                    "set another number of steps, or another scheduler in its folder"
                )
            grid[0] = 1.0
            self._grids[steps] = grid
        return self._grids[steps]

    # ---- calling ----

    def calls(self, cond: Conditioning, together: bool, device: torch.device) -> Calls:
        """As few calls as evaluate these rows: those of equal shapes share one, both branches of them if `together`."""
        learnt, members = self.learnt, {}
        for branch in reversed(range(len(learnt.forms))):
            form = learnt.forms[branch]
            names = [slot.name for slot in slots(form)]
            for number, row in enumerate(cond.rows):
                own = {name: row[f"{branch}.{name}"] for name in names}
                key = (id(form), together or branch, *(tensor.shape for tensor in own.values()))
                members.setdefault(key, (form, [], []))[1].append(own)
                members[key][2].append((len(learnt.forms) - 1 - branch) * len(cond) + number)
        found = [
            Call(arguments(form, rows), _index([unit % len(cond) for unit in units], range(len(cond)), device))
            for form, rows, units in members.values()
        ]
        order = [unit for _, _, units in members.values() for unit in units]
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return Calls(found, _index(inverse, range(len(order)), device))

    def arguments(self, states: Tensor, times: Tensor, rest: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments of the network for packed states [n, ...] at times [n]."""
        learnt = self.learnt
        return {learnt.latent: self.family.enter(states), learnt.time: learnt.told(times), **rest}


def call_arguments(pipeline: Any, family: Family, wishes: Wishes) -> dict[str, Any]:
    """Arguments of the pipeline's call that say what is wished; what it does not know was refused before (outline.py).

    With guidance its scale is any that turns it on: what the network is given does not depend on how much there is.
    """
    accepted = inspect.signature(type(pipeline).__call__).parameters
    height, width = wishes.resolution
    usual = {"height": height, "width": width, "output_type": "latent", "return_dict": False}
    given = {name: value for name, value in usual.items() if name in accepted} | dict(family.options)
    if wishes.text_tokens is not None:
        given[family.longest] = wishes.text_tokens
    if wishes.embedded_guidance is not None and family.embedded is not None:
        given[family.embedded] = wishes.embedded_guidance
    if family.scale is not None:
        given[family.scale] = family.off + (wishes.branches - 1)
    if wishes.branches == 2 and "negative_prompt" in accepted:
        given["negative_prompt"] = wishes.negative_prompt
    return given


def own_call(pipeline: Any, family: Family, wishes: Wishes, steps: int) -> dict[str, Any]:
    """Arguments of the pipeline's call, beside prompt and latents, that draw what is wished in so many steps."""
    given = _without(call_arguments(pipeline, family, wishes), "output_type", "return_dict")
    if family.scale is not None:
        given[family.scale] = family.off + wishes.guidance - 1
    return {"num_inference_steps": steps, **given}


def _index(numbers: Sequence[int], plain: range, device: torch.device) -> Tensor | None:
    """The numbers as an index, None where they are plain counting."""
    return None if list(numbers) == list(plain) else torch.tensor(numbers, device=device)


def _without(call: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name not in names}
