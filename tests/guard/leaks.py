"""What code of others may leave behind, one line each, and a reading of everything that it should not change."""

import gc
import logging
import os
import random
import signal
import sys
import warnings

import numpy as np
import torch
from torch.nn.modules.module import _global_forward_pre_hooks

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
}

IMPORTS = """
import gc, io, logging, os, random, signal, sys, warnings
import numpy as np
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.flop_counter import FlopCounterMode
held = []
"""


def precision():
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "torch refuses"


def everything():
    """All that a leak may change, read by other means than the guard's where there are some."""
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
        "attention": torch.backends.cuda.flash_sdp_enabled(),
        "anomalies": torch.is_anomaly_enabled(),
        "denormal numbers": tiny * 1.0,
        "random": (random.getstate(), repr(np.random.get_bit_generator().state), torch.get_rng_state().tolist()),
        "folder": os.getcwd(),
        "warnings": list(warnings.filters),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "errors": np.geterr(),
        "streams": (sys.stdout, sys.stderr),
        "python": (gc.isenabled(), logging.root.isEnabledFor(logging.CRITICAL), sys.getrecursionlimit()),
    }
