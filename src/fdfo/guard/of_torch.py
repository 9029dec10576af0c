"""Settings of torch and numpy. Some have no reader or writer that is public (2.13)."""

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.optim.optimizer as optimizers
from torch.autograd import graph
from torch.nn.modules import module as modules
from torch.utils import _device
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack, _pop_mode, _push_mode

from fdfo.guard.setting import Setting, attribute

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
    "cuda.matmul.allow_fp16_accumulation",
    "cudnn.enabled",
    "cudnn.benchmark",
    "cudnn.deterministic",
    "mkldnn.enabled",
    "mkldnn.deterministic",
    "opt_einsum.enabled",
    "opt_einsum.strategy",
)
"""Settings of torch.backends that change results; what is not there, as in older versions, is left out."""

_saved: Any = torch._C._autograd  # type: ignore[attr-defined]

AUTOCAST = ("cpu", "cuda")
SMALLEST = 5e-324
"""Not zero, unless denormal numbers are flushed."""


@cache
def of_the_thread() -> tuple[Setting, ...]:
    """Settings that every thread has of its own; the gradient mode first."""
    settings = [
        Setting(torch.is_grad_enabled, torch.set_grad_enabled),
        Setting(_function_modes, _put_function_modes),
        Setting(_get_current_dispatch_mode_stack, _put_dispatch_modes),
        *_if_there(_saved, "_top_saved_tensors_default_hooks", Setting(_saved_tensors_hooks, _put_saved_tensors_hooks)),
        Setting(torch._C._is_multithreading_enabled, torch._C._set_multithreading_enabled),
        Setting(_card, lambda before: torch.cuda.set_device(before or 0)),
        Setting(_stream, lambda before: torch.cuda.set_stream(before) if before else None),
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
    cuda, mha = torch.backends.cuda, torch.backends.mha
    return (
        Setting(torch.get_default_dtype, torch.set_default_dtype),
        Setting(torch.get_num_threads, torch.set_num_threads),
        Setting(_determinism, lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1])),
        Setting(_matmul_precision, _put_matmul_precision),
        *(_backend(path) for path in BACKENDS if _backend_has(path)),
        Setting(cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        Setting(cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        Setting(cuda.math_sdp_enabled, cuda.enable_math_sdp),
        Setting(cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        *_if_there(torch._C, "_get_sdp_priority_order", Setting(_attention_order, _put_attention_order)),
        Setting(mha.get_fastpath_enabled, mha.set_fastpath_enabled),
        Setting(torch.is_anomaly_enabled, torch.set_anomaly_enabled),
        attribute(graph, "_allow_mutation_on_saved_tensors_enabled"),
        *(
            _of_all(owner, name)
            for owner in (modules, optimizers)
            for name in vars(owner)
            if name.startswith("_global_")
        ),
    )


def _if_there(owner: Any, name: str, setting: Setting) -> tuple[Setting, ...]:
    """What older versions of torch (2.6) may lack."""
    return (setting,) if hasattr(owner, name) else ()


def _attention_order() -> list[int]:
    return torch._C._get_sdp_priority_order()


def _put_attention_order(before: list[int]) -> None:
    torch._C._set_sdp_priority_order(before)


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


def _saved_tensors_hooks() -> tuple[Any, ...]:
    """Why there may be none, or None, and those that are open, from the first; only the last one can be looked at."""
    pairs = []
    while pair := _saved._top_saved_tensors_default_hooks(True):
        pairs.insert(0, pair)
        _saved._pop_saved_tensors_default_hooks()
    for pair in pairs:
        _saved._push_saved_tensors_default_hooks(*pair)
    return _saved._saved_tensors_hooks_get_disabled_error_message(), *pairs


def _put_saved_tensors_hooks(before: tuple[Any, ...]) -> None:
    message, *pairs = before
    _saved._saved_tensors_hooks_enable()
    while _saved._top_saved_tensors_default_hooks(True):
        _saved._pop_saved_tensors_default_hooks()
    for pair in pairs:
        _saved._push_saved_tensors_default_hooks(*pair)
    if message is not None:
        _saved._saved_tensors_hooks_disable(message)


def _card() -> int | None:
    return torch.cuda.current_device() if torch.cuda.is_initialized() else None


def _stream() -> Any:
    return torch.cuda.current_stream() if torch.cuda.is_initialized() else None


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


def _of_all(owner: Any, name: str) -> Setting:
    """Hooks of all networks, or optimizers, there are: of others, or of a tool they left open, as a FlopCounterMode."""
    hooks = getattr(owner, name)
    if not isinstance(hooks, dict):
        return attribute(owner, name)

    def put(before: dict[int, Any]) -> None:
        hooks.clear()
        hooks.update(before)

    return Setting(hooks.copy, put)


def _backend_has(path: str) -> bool:
    *groups, name = path.split(".")
    return hasattr(_group(groups), name)


def _backend(path: str) -> Setting:
    *groups, name = path.split(".")
    return attribute(_group(groups), name)


def _group(names: list[str]) -> Any:
    group: Any = torch.backends
    for name in names:
        group = getattr(group, name, None)
    return group
