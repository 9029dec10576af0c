"""What code of others may leave behind, one line each, and a reading of everything that it should not change."""

import gc
import locale
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.module import _global_forward_pre_hooks
from torch.optim.optimizer import _global_optimizer_post_hooks

LEAKS = {
    "default dtype": "torch.set_default_dtype(torch.float64)",
    "gradient": "torch.set_grad_enabled(False)",
    "inference mode": "held.append(torch.inference_mode()); held[-1].__enter__()",
    "autocast": "torch.autocast('cpu', torch.bfloat16).__enter__()",
    "autocast dtype": "torch.set_autocast_dtype('cpu', torch.float16)",
    "threads": "torch.set_num_threads(3)",
    "determinism": "torch.use_deterministic_algorithms(True, warn_only=True)",
    "default device": "torch.set_default_device('meta')",
    "device": "torch.device('meta').__enter__()",
    "dispatch mode": "FlopCounterMode(display=False).__enter__()",
    "module hooks": "register_module_forward_hook(lambda module, given, output: 0 * output)",
    "matmul precision": "torch.set_float32_matmul_precision('medium')",
    "fp32 precision": "torch.backends.fp32_precision = 'tf32'",
    "convolutions": "torch.backends.mkldnn.conv.fp32_precision = 'bf16'",
    "mkldnn": "torch.backends.mkldnn.set_flags(False)",
    "cudnn": "torch.backends.cudnn.benchmark = True",
    "attention": "torch.backends.cuda.enable_flash_sdp(False)",
    "anomalies": "torch.autograd.set_detect_anomaly(True)",
    "denormal numbers": "torch.set_flush_denormal(True)",
    "seed of torch": "torch.manual_seed(7)",
    "seed of numpy": "np.random.seed(7)",
    "seed of python": "random.seed(7)",
    "draws": "torch.rand(3); np.random.rand(3); random.random()",
    "folder": "os.chdir('/')",
    "warnings": "warnings.simplefilter('ignore')",
    "SIGTERM": "signal.signal(signal.SIGTERM, print)",
    "SIGINT": "signal.signal(signal.SIGINT, print)",
    "numpy's errors": "np.seterr(all='raise')",
    "stdout": "sys.stdout = io.StringIO()",
    "garbage": "gc.disable()",
    "logging": "logging.disable(logging.CRITICAL)",
    "recursion": "sys.setrecursionlimit(4321)",
    "saved tensors": "torch.autograd.graph.saved_tensors_hooks(lambda kept: 0 * kept, lambda kept: kept).__enter__()",
    "no saved tensors": "held.append(graph.disable_saved_tensors_hooks('no')); held[-1].__enter__()",
    "gradient's threads": "torch.autograd.set_multithreading_enabled(False)",
    "optimizers": "register_optimizer_step_post_hook(lambda optimizer, given, named: zero(optimizer))",
    "order of attention": "torch._C._set_sdp_priority_order([2, 1, 0, 3])",
    "fast path": "torch.backends.mha.set_fastpath_enabled(False)",
    "half sums": "torch.backends.cuda.matmul.allow_fp16_accumulation = True",
    "SIGPIPE": "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "SIGHUP": "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    "blocked signals": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
    "alarm": "signal.alarm(500)",
    "permissions": "os.umask(0o777)",
    "locale": "locale.setlocale(locale.LC_CTYPE, 'C' if locale.setlocale(locale.LC_CTYPE) != 'C' else 'C.UTF-8')",
    "size of files": "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))",
    "open files": "resource.setrlimit(resource.RLIMIT_NOFILE, (99, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
    "import path": "sys.path.clear()",
    "finders": "sys.meta_path.clear()",
    "shown warnings": "warnings.showwarning = None",
    "stack": "threading.stack_size(65536)",
}

TOGETHER = [code for name, code in LEAKS.items() if name not in ("stdout", "no saved tensors")]
"""Those that can all be left behind at once, and leave what is printed to be read."""

IMPORTS = """
import gc, io, locale, logging, os, random, resource, signal, sys, threading, warnings
import numpy as np
import torch
from torch.autograd import graph
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.flop_counter import FlopCounterMode
held = []

def zero(optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.data.zero_()
"""


def precision():
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "torch refuses"


def everything():
    """All that a leak may change, read by other means than the guard's where there are some."""
    autograd = torch._C._autograd
    tiny, small = 1e-310, torch.randn(64, generator=torch.Generator().manual_seed(1))
    return {
        "dtype": torch.tensor(0.5).dtype,
        "device": torch.empty(0).device.type,
        "modes": (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()),
        "modules": (torch.nn.Identity()(torch.ones(1, device="cpu")).item(), len(_global_forward_pre_hooks)),
        "gradient": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.zeros(1).is_inference()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), (small @ small).dtype),
        "threads": torch.get_num_threads(),
        "determinism": torch.are_deterministic_algorithms_enabled(),
        "precision": [precision(), torch.backends.fp32_precision]
        + [group.fp32_precision for group in (torch.backends.cuda.matmul, torch.backends.cudnn.conv)]
        + [group.fp32_precision for group in (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv)],
        "backends": (torch.backends.mkldnn.enabled, torch.backends.cudnn.benchmark),
        "attention": (torch.backends.cuda.flash_sdp_enabled(), torch._C._get_sdp_priority_order()),
        "saved tensors": (autograd._top_saved_tensors_default_hooks(True), autograd._saved_tensors_hooks_is_enabled()),
        "gradient's threads": torch._C._is_multithreading_enabled(),
        "optimizers": len(_global_optimizer_post_hooks),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "half sums": torch.backends.cuda.matmul.allow_fp16_accumulation,
        "anomalies": torch.is_anomaly_enabled(),
        "denormal numbers": tiny * 1.0,
        "random": (random.getstate(), repr(np.random.get_bit_generator().state), torch.get_rng_state().tolist()),
        "folder": os.getcwd(),
        "warnings": list(warnings.filters),
        "handlers": [signal.getsignal(getattr(signal, f"SIG{name}")) for name in ("INT", "TERM", "PIPE", "HUP")],
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "permissions": _mode_of_a_new_file(),
        "locale": locale.setlocale(locale.LC_ALL),
        "limits": [resource.getrlimit(kind) for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)],
        "imports": (sys.path[:], len(sys.meta_path)),
        "shown warnings": warnings.showwarning,
        "stack": _stack_size(),
        "errors": np.geterr(),
        "streams": (sys.stdout, sys.stderr),
        "python": (gc.isenabled(), logging.root.isEnabledFor(logging.CRITICAL), sys.getrecursionlimit()),
    }


def _stack_size():
    size = threading.stack_size()
    threading.stack_size(size)
    return size


def _mode_of_a_new_file():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new"
        path.touch()
        return path.stat().st_mode
