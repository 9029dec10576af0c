"""A pipeline's own call, run until something stops it: what it gives its network, and which times it sets.

Its network and its scheduler are stand-ins meanwhile: nothing is evaluated, so the network may be elsewhere.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ASKED_STEPS = 4
"""Steps of a call that is stopped at its first: with one, some time grids would divide by zero."""

Completed = Callable[[dict[str, Any]], dict[str, Any]]
"""From the arguments of a call of the network to those that are noted."""


@dataclass(frozen=True)
class Asked:
    """What a pipeline gave its network for the first step."""

    calls: list[dict[str, Any]]
    """Arguments of each of the network's calls by name, in the order of its signature: one or two with guidance."""
    state: Tensor
    """What the scheduler was to step, in the loop's layout."""


class _Stop(BaseException):
    """Ends a pipeline's call with a result; no Exception, of which blocks tell in their log."""


class _Zero(tuple):
    """A network's output, read in either way that pipelines have."""

    @property
    def sample(self) -> Any:
        return self[0]


class _Listener:
    """Stands for the network: notes how it is called, answers zero, and tells of itself what the network does."""

    def __init__(self, network: Any, dtype: torch.dtype, completed: Completed):
        self._network, self._signature = network, inspect.signature(type(network).forward)
        self._completed, self.dtype, self.calls = completed, dtype, []

    def __call__(self, *arguments: Any, **named: Any) -> _Zero:
        parameters = self._signature.parameters
        bound = dict(self._signature.bind(self._network, *arguments, **named).arguments)
        del bound[next(iter(parameters))]  # self
        # None where None is usual says nothing, and some pipelines say it for one branch alone.
        told = {
            name: value for name, value in bound.items() if value is not None or parameters[name].default is not None
        }
        self.calls.append(self._completed(told))
        latent = next(iter(bound.values()))
        return _Zero([[torch.zeros_like(x) for x in latent] if isinstance(latent, list) else torch.zeros_like(latent)])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


class Asking:
    """Asks a pipeline, with fixed arguments of its call, and perhaps another shift of its times, alike for all sizes.

    What it encoded for the question before is remembered, so that questions about times need no text encoder.
    """

    def __init__(self, pipeline: Any, arguments: Mapping[str, Any], completed: Completed, shift: float | None = None):
        self.pipeline, self.arguments, self._completed = pipeline, dict(arguments), completed
        self._changes = {} if shift is None else {"shift": shift, "use_dynamic_shifting": False}
        accepted = inspect.signature(type(pipeline).__call__).parameters
        self._copies = next(name for name in ("num_images_per_prompt", "num_videos_per_prompt") if name in accepted)
        self._encoded: list[Any] = []

    @property
    def has_encoded(self) -> bool:
        """Whether `times`, and `record` with `again`, can do without text encoders."""
        return bool(self._encoded)

    def record(
        self,
        network: Any,
        prompt: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        copies: int = 1,
        at: float = 1.0,
        again: bool = False,
    ) -> Asked:
        """What the network gets at time `at` for so many images of a prompt; with `again`, of the one before."""
        listener = _Listener(network, dtype, self._completed)

        def settle(scheduler: Any) -> None:
            scheduler.timesteps = torch.tensor([at * scheduler.config.num_train_timesteps], device=device)
            scheduler.sigmas = torch.tensor([at, 0.0], device=device)

        def step(_: Any, __: Any, state: Tensor, *___: Any, **____: Any) -> Any:
            raise _Stop(state)

        state = self._call(prompt, listener, settle, step, device, again, **{self._copies: copies})
        return Asked(listener.calls, state)

    def times(self, network: Any, steps: int, *, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The noise levels [steps + 1] that its scheduler is set to, and their numbers [steps], on the CPU.

        Only after something was encoded.
        """

        def settle(scheduler: Any) -> None:
            raise _Stop((scheduler.sigmas, scheduler.timesteps))

        found = self._call(
            "", _Listener(network, dtype, self._completed), settle, None, device, True, num_inference_steps=steps
        )
        sigmas, numbers = (part.detach().float().cpu().clone() for part in found)
        return sigmas, numbers

    @torch.no_grad()
    def _call(
        self,
        prompt: str,
        listener: _Listener,
        settle: Callable[[Any], None],
        step: Callable[..., Any] | None,
        device: torch.device,
        again: bool,
        **changes: Any,
    ) -> Any:
        scheduler = _scheduler(self.pipeline.scheduler, self._changes, settle, step)
        encode = self._remembered() if again else self._remembering()
        # Guiders combine velocities by the number of the step; that is left to the family's rule.
        guiders = {name: None for name in self.pipeline.components if name.endswith("guider")}
        given = {"num_inference_steps": ASKED_STEPS, "generator": torch.Generator(), **self.arguments, **changes}
        with _standing_in(
            self.pipeline, device, transformer=listener, scheduler=scheduler, encode_prompt=encode, **guiders
        ):
            try:
                self.pipeline(prompt=prompt, **given)
            except _Stop as stop:
                return stop.args[0]
        raise AssertionError(f"{type(self.pipeline).__name__} ended without a step")

    def _remembering(self) -> Callable[..., Any]:
        """The pipeline's encode_prompt, whose results are kept."""
        original, self._encoded = self.pipeline.encode_prompt, []

        def encode(*arguments: Any, **named: Any) -> Any:
            self._encoded.append(original(*arguments, **named))
            return self._encoded[-1]

        return encode

    def _remembered(self) -> Callable[..., Any]:
        """What it returned before, in the same order."""
        left = iter(self._encoded)
        return lambda *_, **__: next(left)


def _scheduler(
    own: Any, changes: Mapping[str, Any], settle: Callable[[Any], None], step: Callable[..., Any] | None
) -> Any:
    """A scheduler of the very class, for pipelines compare it, and configuration; `settle` sees it once it is set."""
    kind = type(own)
    asked = kind.from_config(own.config, **changes)

    def set_timesteps(*arguments: Any, **named: Any) -> None:
        kind.set_timesteps(asked, *arguments, **named)
        settle(asked)

    set_timesteps.__signature__ = inspect.signature(asked.set_timesteps)  # type: ignore[attr-defined]  # is inspected
    asked.set_timesteps = set_timesteps
    if step is not None:
        asked.step = step
    return asked


@contextmanager
def _standing_in(pipeline: Any, device: torch.device, **parts: Any) -> Iterator[None]:
    """Inside, the pipeline has these parts and computes on the device; none of them is registered with it."""
    own, kind = vars(pipeline), type(pipeline)
    before = {name: own[name] for name in parts if name in own}
    pipeline.__class__ = type(kind.__name__, (kind,), {"_execution_device": device})
    own.update(parts)
    try:
        yield
    finally:
        pipeline.__class__ = kind
        for name in parts:
            del own[name]
        own.update(before)
