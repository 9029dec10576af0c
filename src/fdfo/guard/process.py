"""What is process-wide, or the thread's, and put back after contact with code that is not ours.

A setting is read before and after, and put back where it differs. Random numbers are exchanged instead: code of others
has streams of its own, which go on where it left them, so that it neither moves ours nor draws the same numbers again.
Not put back, because others need it to last: environment variables, the import path, log handlers.
"""

import gc
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from threading import Lock, current_thread, main_thread
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as modules
from torch.utils import _device
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack, _pop_mode, _push_mode

BACKENDS = (
    "fp32_precision",
    "cudnn.fp32_precision",
    "mkldnn.fp32_precision",
    "cuda.matmul.fp32_precision",
    "cudnn.conv.fp32_precision",
    "cudnn.rnn.fp32_precision",
    "mkldnn.matmul.fp32_precision",
    "mkldnn.conv.fp32_precision",
    "mkldnn.rnn.fp32_precision",
    "cuda.matmul.allow_fp16_reduced_precision_reduction",
    "cuda.matmul.allow_bf16_reduced_precision_reduction",
    "cudnn.enabled",
    "cudnn.benchmark",
    "cudnn.deterministic",
    "mkldnn.enabled",
    "mkldnn.deterministic",
)
"""Settings of torch.backends that change results; older versions of torch lack some."""

AUTOCAST = ("cpu", "cuda")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SMALLEST = 5e-324
"""Not zero, unless denormal numbers are flushed."""


@dataclass(frozen=True)
class Setting:
    """How to read a setting, and how to make it what it was."""

    read: Callable[[], Any]
    put: Callable[[Any], Any]


@cache
def of_the_thread() -> tuple[Setting, ...]:
    """Settings that every thread has of its own."""
    settings = [
        Setting(torch.is_grad_enabled, torch.set_grad_enabled),
        Setting(_function_modes, _put_function_modes),
        Setting(_get_current_dispatch_mode_stack, _put_dispatch_modes),
        Setting(_card, lambda before: torch.cuda.set_device(before or 0)),
        Setting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
        Setting(_autocast_depth, _put_autocast_depth),
        Setting(np.geterr, lambda before: np.seterr(**before)),
        Setting(lambda: SMALLEST * 1.0 == 0.0, torch.set_flush_denormal),
    ]
    for device in AUTOCAST:
        settings += [
            Setting(
                lambda d=device: torch.is_autocast_enabled(d), lambda on, d=device: torch.set_autocast_enabled(d, on)
            ),
            Setting(lambda d=device: torch.get_autocast_dtype(d), lambda to, d=device: torch.set_autocast_dtype(d, to)),
        ]
    return tuple(settings)


@cache
def of_the_process() -> tuple[Setting, ...]:
    """Settings that all threads share."""
    sdp = torch.backends.cuda
    return (
        Setting(torch.get_default_dtype, torch.set_default_dtype),
        Setting(torch.get_num_threads, torch.set_num_threads),
        Setting(_determinism, lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1])),
        Setting(_matmul_precision, _put_matmul_precision),
        *(_backend(path) for path in BACKENDS if _backend_has(path)),
        Setting(sdp.flash_sdp_enabled, sdp.enable_flash_sdp),
        Setting(sdp.mem_efficient_sdp_enabled, sdp.enable_mem_efficient_sdp),
        Setting(sdp.math_sdp_enabled, sdp.enable_math_sdp),
        Setting(sdp.cudnn_sdp_enabled, sdp.enable_cudnn_sdp),
        Setting(torch.is_anomaly_enabled, torch.set_anomaly_enabled),
        Setting(_module_hooks, _put_module_hooks),
        Setting(_folder, _put_folder),
        Setting(lambda: (sys.stdout, sys.stderr), _put_streams),
        Setting(gc.isenabled, lambda was: gc.enable() if was else gc.disable()),
        Setting(lambda: logging.root.manager.disable, logging.disable),
        Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    )


@cache
def of_the_main_thread() -> tuple[Setting, ...]:
    """Settings that only the main thread may touch, or may be changing for a moment while another one looks."""
    return (
        Setting(lambda: [signal.getsignal(number) for number in SIGNALS], _put_handlers),
        Setting(lambda: list(warnings.filters), _put_filters),
    )


_lock = Lock()
_open = 0
"""Contacts under way, in all threads."""
_before: list[tuple[Setting, Any]] = []
"""What was set when the first of them began."""
_streams: "Streams | None" = None
"""Random numbers of the others while ours are in use, and the other way round; None: they have none yet."""


@contextmanager
def put_back() -> Iterator[None]:
    """Around contact with code of others: afterwards, settings and random numbers are what they were.

    Contacts may be nested, or under way in several threads: what all threads share is then that of the first one's
    beginning.
    """
    own = _read(of_the_thread() + (of_the_main_thread() if current_thread() is main_thread() else ()))
    _begin()
    try:
        # Entered as it is: leaving it also undoes an inference mode that was left open inside.
        with torch.inference_mode(torch.is_inference_mode_enabled()), torch.set_grad_enabled(own[0][1]):
            yield
    finally:
        _end()
        _restore(own)


def _begin() -> None:
    global _open, _before, _streams
    with _lock:
        if _open == 0:
            _before = _read(of_the_process())
            _streams = (_streams or Streams.new()).exchanged()
        _open += 1


def _end() -> None:
    global _open, _streams
    with _lock:
        _open -= 1
        _restore(_before)
        if _open == 0:
            assert _streams is not None
            _streams = _streams.exchanged()


def _read(settings: tuple[Setting, ...]) -> list[tuple[Setting, Any]]:
    return [(setting, setting.read()) for setting in settings]


def _restore(before: list[tuple[Setting, Any]]) -> None:
    for setting, value in before:
        if setting.read() != value:
            setting.put(value)


@dataclass(frozen=True)
class Streams:
    """Random numbers of the generators that anybody may draw from."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: list[torch.Tensor]

    @staticmethod
    def now() -> "Streams":
        """As the generators stand."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return Streams(random.getstate(), np.random.mtrand.get_bit_generator(), torch.get_rng_state(), cuda)

    @staticmethod
    def new() -> "Streams":
        """Like those of now, with a generator of its own where one is an object."""
        now = Streams.now()
        return Streams(now.python, np.random.MT19937(), now.cpu, now.cuda)

    def exchanged(self) -> "Streams":
        """Those in use until now; these are in use from now on."""
        before = Streams.now()
        random.setstate(self.python)
        np.random.mtrand.set_bit_generator(self.numpy)
        torch.set_rng_state(self.cpu)
        for device, state in enumerate(self.cuda):
            torch.cuda.set_rng_state(state, device)
        return before


# ---- settings without a reader or a writer of their own ----


def _function_modes() -> tuple[Any, ...]:
    """Default device and function modes; torch has no public way to see or close what was left open (2.13)."""
    held = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    depth = torch._C._len_torch_function_stack()
    return (held, _device.CURRENT_DEVICE, *(torch._C._get_function_stack_at(i) for i in range(depth)))


def _put_function_modes(before: tuple[Any, ...]) -> None:
    while torch._C._len_torch_function_stack():
        torch._C._pop_torch_function_stack()
    torch._GLOBAL_DEVICE_CONTEXT.device_context, _device.CURRENT_DEVICE, *modes = before
    for mode in modes:
        torch._C._push_on_torch_function_stack(mode)


def _put_dispatch_modes(before: list[Any]) -> None:
    while _get_current_dispatch_mode_stack():
        _pop_mode()
    for mode in before:
        _push_mode(mode)


def _card() -> int | None:
    return torch.cuda.current_device() if torch.cuda.is_initialized() else None


def _autocast_depth() -> int:
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _put_autocast_depth(before: int) -> None:
    while _autocast_depth() > before:
        torch.autocast_decrement_nesting()
    while _autocast_depth() < before:
        torch.autocast_increment_nesting()
    if before == 0:
        torch.clear_autocast_cache()


def _determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _matmul_precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # torch refuses to read it once a backend has a precision of its own (2.9)
        return None


def _put_matmul_precision(before: str | None) -> None:
    if before is not None:
        torch.set_float32_matmul_precision(before)


def _module_hooks() -> dict[str, Any]:
    """Hooks of all modules there are: of code of others, or of a tool it left open, such as a FlopCounterMode."""
    settings = {name: value for name, value in vars(modules).items() if name.startswith("_global_")}
    return {name: dict(value) if isinstance(value, dict) else value for name, value in settings.items()}


def _put_module_hooks(before: dict[str, Any]) -> None:
    for name, value in before.items():
        if isinstance(value, dict):
            hooks = getattr(modules, name)
            hooks.clear()
            hooks.update(value)
        else:
            setattr(modules, name, value)


def _backend_has(path: str) -> bool:
    *groups, name = path.split(".")
    return hasattr(_group(groups), name)


def _backend(path: str) -> Setting:
    *groups, name = path.split(".")
    group = _group(groups)
    return Setting(lambda: getattr(group, name), lambda before: setattr(group, name, before))


def _group(names: list[str]) -> Any:
    group: Any = torch.backends
    for name in names:
        group = getattr(group, name, None)
    return group


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _put_folder(before: str | None) -> None:
    if before is not None:
        with suppress(OSError):  # it was removed meanwhile
            os.chdir(before)


def _put_streams(before: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = before


def _put_handlers(before: list[Any]) -> None:
    for number, handler in zip(SIGNALS, before, strict=True):
        if handler is not None:  # of another language
            signal.signal(number, handler)


def _put_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]
