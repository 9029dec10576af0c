"""`fdfo doctor`: will it work here?"""

import os
import shutil
from pathlib import Path

import torch

from fdfo.commands.terminal import say
from fdfo.config.load import load_config
from fdfo.config.tree import AdapterConfig
from fdfo.errors import FdfoError, ModelError
from fdfo.flow.noise import NoiseStreams
from fdfo.methods.fdfo import FDFO
from fdfo.methods.settings.fdfo import FdfoConfig
from fdfo.models.load import load_policy
from fdfo.objectives.surrogate import velocity_log_ratio
from fdfo.planning.describe import describe
from fdfo.records import Prompt, Scores
from fdfo.rewards.jpeg import JpegSize
from fdfo.training.folder import environment
from fdfo.words import plural

HUB_TIMEOUT_S = 5.0
GATED_EXAMPLE = "stabilityai/stable-diffusion-3.5-medium"
PLANNED_RECIPE = "sd35-medium-24gb"


def run_doctor(model: str) -> None:
    """Print one line a check. Raises FdfoError when the chosen model does not work end to end."""
    facts = environment()
    libraries = ", ".join(f"{name} {version or 'missing'}" for name, version in facts["libraries"].items())
    is_on_hub = "/" in model and not Path(model).is_dir()
    for name, finding in {
        "python": f"{facts['python']} on {facts['system']}",
        "libraries": libraries,
        "devices": f"{', '.join(facts['devices'])}; {plural(facts['threads'], 'thread')}",
        "memory": _memory(),
        "disk": f"{shutil.disk_usage('.').free / 2**30:.1f} GiB free here",
        "writable": "yes" if os.access(".", os.W_OK) else "NO: this folder cannot be written to",
        "hub": _hub(model if is_on_hub else GATED_EXAMPLE),
    }.items():
        say(f"{name:<10} {finding}")
    say(f"\n{_memory_plan(model)}\n")
    try:
        say(f"{'one pair':<10} {_one_pair(model)}")
    except FdfoError as error:
        say(f"{'one pair':<10} FAILED")
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


def _memory_plan(model: str) -> str:
    """What the published setting would need with this model, by phase; of the embedded one, the demo."""
    recipe, changes = ("shapes", []) if model == "shapes" else (PLANNED_RECIPE, [f"policy.name={model}"])
    told = f"a run of {recipe}" if model == "shapes" else f"a run of {recipe} with {model}"
    try:
        return f"{told}: {describe(load_config(recipe, changes))}"
    except FdfoError as error:
        return f"{told}: no memory plan; {error}"


def _hub(repo: str) -> str:
    """Whether the hub answers, knows the token there is, and gives access to a repository."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    account = "not logged in" if get_token() is None else "logged in"
    try:
        HfApi().model_info(repo, timeout=HUB_TIMEOUT_S)  # answers for gated repositories as well
        HfApi().auth_check(repo)
    except GatedRepoError:
        advice = "" if get_token() else ", then run `hf auth login`"
        return f"{account}; {repo} is gated: accept its licence at https://huggingface.co/{repo}{advice}"
    except RepositoryNotFoundError:
        return f"{account}; no access to {repo}: it does not exist, or is private to another account"
    except HfHubHTTPError as error:
        return f"{account}; the hub answers with an error {error.response.status_code}; try again later"
    except Exception as error:  # any client library's network error means the same here
        return f"{account}; not reachable ({type(error).__name__}); local models work"
    return f"{account}; {repo} can be downloaded"


def _one_pair(model: str) -> str:
    """Sample, decode, score, credit, loss and its gradient, in the precision that a run would use here."""
    cuda = torch.cuda.is_available()
    try:
        policy = load_policy(model, adapter=AdapterConfig(), dtype=torch.bfloat16 if cuda else torch.float32)
        method, reward = FDFO(FdfoConfig(steps=2)), JpegSize()
        prompt = Prompt(text="a red circle")
        rollout = method.rollout(policy, [prompt], NoiseStreams(seed=0, epoch=0))
        with torch.no_grad():
            images = policy.decode(rollout.x0)
        if not bool(images.isfinite().all()):
            raise ModelError(f"{model}: the images are not finite; try another dtype")
        total = reward(images, [prompt.text] * 2, [{}] * 2).cpu()
        scores = Scores(total=total, components={"jpeg": total}, batch=total)
        items = method.credit(rollout, scores)
        rows = items.rows(torch.tensor([0, 1]), torch.tensor([0, 0])).to(policy.device)
        with torch.no_grad():
            v = policy.velocity(rows.x, rows.t, rows.cond)
        drift = float(velocity_log_ratio(v, rows.v_ref, rows.direction).abs().max())
        method.loss(policy, rows, reward).losses.sum().backward()
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{model} does not fit into this device's memory with one pair") from error
    gradients = [parameter.grad for parameter in policy.trainable() if parameter.grad is not None]
    if not gradients or not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise ModelError(f"{model}: the gradient of the loss is missing or not finite; try another dtype")
    height, width = images.shape[2:]
    return (
        f"{model} works: two {height} x {width} images, scored, and a gradient; "
        f"log ratio at unchanged weights {drift:.1e}"
    )
