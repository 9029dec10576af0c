"""`fdfo doctor`: will it work here?"""

import os
import shutil
from pathlib import Path

import torch

from fdfo.errors import FdfoError
from fdfo.flow.noise import NoiseStreams
from fdfo.methods.fdfo import FDFO, FdfoConfig
from fdfo.models.load import load_policy
from fdfo.objectives.surrogate import velocity_log_ratio
from fdfo.records import Prompt, Scores
from fdfo.training.folder import environment

HUB_TIMEOUT_S = 5.0


def run_doctor(model: str) -> None:
    """Print one line a check. Raises FdfoError when the chosen model does not work end to end."""
    facts = environment()
    libraries = ", ".join(f"{name} {version or 'missing'}" for name, version in facts["libraries"].items())
    for name, finding in {
        "python": f"{facts['python']} on {facts['system']}",
        "libraries": libraries,
        "devices": f"{', '.join(facts['devices'])}; {facts['threads']} threads",
        "memory": _memory(),
        "disk": f"{shutil.disk_usage('.').free / 2**30:.1f} GiB free here",
        "writable": "yes" if os.access(".", os.W_OK) else "NO: this folder cannot be written to",
        "hub": _hub(),
    }.items():
        print(f"{name:<10} {finding}")
    try:
        print(f"{'one pair':<10} {_one_pair(model)}")
    except FdfoError as error:
        print(f"{'one pair':<10} FAILED")
        raise error


def _memory() -> str:
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB of device memory free"
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return f"{int(fields['MemAvailable'].split()[0]) / 2**20:.1f} GiB of host memory free"
    return "unknown"


def _hub() -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        name = HfApi().whoami(cache=False)["name"] if HfApi().token or os.environ.get("HF_TOKEN") else "no account"
        HfApi().model_info("stabilityai/stable-diffusion-3.5-medium", timeout=HUB_TIMEOUT_S)
        return f"reachable ({name})"
    except HfHubHTTPError as error:
        return f"reachable, but it refuses: {error.response.status_code} (log in with `hf auth login` for gated models)"
    except Exception as error:  # any client library's network error means the same here
        return f"not reachable ({type(error).__name__}); local models work"


def _one_pair(model: str) -> str:
    policy = load_policy(model)
    method = FDFO(FdfoConfig(steps=2))
    prompt = Prompt(text="a red circle")
    rollout = method.rollout(policy, [prompt], NoiseStreams(seed=0, epoch=0))
    images = policy.decode(rollout.x0)
    if not bool(images.isfinite().all()):
        raise FdfoError(f"{model}: the images are not finite; try another dtype")
    items = method.credit(rollout, Scores(total=torch.tensor([1.0, 0.0]), components={}, batch_mean=0.5))
    rows = items.rows(torch.tensor([0, 1]), torch.tensor([0, 0])).to(policy.device)
    with torch.no_grad():
        v = policy.velocity(rows.x, rows.t, rows.cond)
    drift = float(velocity_log_ratio(v, rows.v_ref, rows.direction).abs().max())
    height, width = images.shape[2:]
    return f"{model} works: two {height} x {width} images, log ratio at unchanged weights {drift:.1e}"
