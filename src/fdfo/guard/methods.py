"""A method of others, called through the guard."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fdfo.guard.contact import Guard
from fdfo.guard.own import own, own_tensor

_MISSING = object()


class GuardedMethod:
    """The same method: it gets prompts and scores of its own, and leaves nothing behind but what it returns."""

    def __init__(self, method: Any, guard: Guard):
        self._method, self._guard = method, guard

    @property
    def memory(self) -> Any:
        """What it carries from epoch to epoch, behind the same guard; None: nothing."""
        memory = self._guard("where its memory was read", lambda: self._method.memory)
        return None if memory is None else _GuardedMemory(memory, self._guard)

    def __getattr__(self, name: str) -> Any:
        """What a method declares: its group size, averages, metrics and so on."""
        found = self._guard(f"where its {name} was read", lambda: getattr(self._method, name, _MISSING))
        if found is _MISSING:
            raise AttributeError(name)
        return found

    def rollout(self, policy: Any, prompts: Sequence[Any], noise: Any) -> Any:
        """As the method does."""
        given = [replace(prompt, metadata=own(prompt.metadata)) for prompt in prompts]
        return self._given("rollout", "Rollout", "x0", policy, given, noise)

    def credit(self, rollout: Any, scores: Any) -> Any:
        """As the method does."""
        given = replace(
            scores,
            total=own_tensor(scores.total, scores.total),
            batch=own_tensor(scores.batch, scores.batch),
            components={name: own_tensor(part, part) for name, part in scores.components.items()},
        )
        return self._given("credit", "Items", "prompt_row", rollout, given)

    def loss(self, policy: Any, items: Any, reward: Any) -> Any:
        """As the method does."""
        return self._given("loss", "LossOutput", "losses", policy, items, reward)

    def _given(self, name: str, kind: str, part: str, *arguments: Any) -> Any:
        """What the method returns, a record of this kind, which has such a part."""
        returned = self._guard(f"in {name}", lambda: getattr(self._method, name)(*arguments))
        if not hasattr(returned, part):
            is_to = f"is to return a fdfo.records.{kind}"
            raise self._guard.error(f"{self._guard.what}: {name} {is_to}, got {type(returned).__name__}")
        return returned


class _GuardedMemory:
    """The same memory: it gets prompts and scores of its own, and gives tensors of its own."""

    def __init__(self, memory: Any, guard: Guard):
        self._memory, self._guard = memory, guard

    def observe(self, prompts: Sequence[Any], totals: Any) -> None:
        """As the memory does."""
        given = [replace(prompt, metadata=own(prompt.metadata)) for prompt in prompts]
        self._guard("in memory.observe", lambda: self._memory.observe(given, totals.clone()))

    def state(self) -> dict[str, Any]:
        """As the memory does."""
        given = self._guard("in memory.state", self._memory.state)
        return {name: value.clone() for name, value in given.items()}

    def restore(self, state: Any) -> None:
        """As the memory does."""
        given = {name: value.clone() for name, value in state.items()}
        self._guard("in memory.restore", lambda: self._memory.restore(given))
