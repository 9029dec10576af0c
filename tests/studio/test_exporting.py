"""The button that exports a checkpoint: the command that it starts, and what other programs read of the result."""

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig
from torch.testing import assert_close

from fdfo.models import load_policy
from fdfo.shapes import PIPELINE
from fdfo.studio.app import MOST_BYTES, watch_app
from fdfo.studio.watch.actions import Actions
from fdfo.studio.watch.library import Library
from fdfo.web.listening import listen
from fdfo.web.server import Server
from tests.browser import opened, violations
from tests.models.test_weights import pipeline_velocity, velocity
from tests.training.runs import run


@pytest.fixture
def exported(request, browser, tmp_path):
    """The checkpoint of a run that trained an adapter, or all weights, and what the page says is written where."""
    adapter = "{kind: full}" if request.param == "full" else "{kind: lora, rank: 4, alpha: 8}"
    trained = run(tmp_path / "runs" / "real", f"policy.adapter={adapter}", "train.epochs=1", "optim.lr=0.01")
    app = watch_app(Library([tmp_path / "runs"]), Actions(tmp_path / "jobs"))
    server = Server(app, listen("127.0.0.1", 0), most_bytes=MOST_BYTES)
    with server, opened(browser, f"{server.url}/run?run=real") as page:
        page.get_by_text("Checkpoints: 1").click()
        page.get_by_role("button", name="Export epoch-0000001").click()
        page.locator(".job .state:is(.done, .failed)").wait_for(timeout=300_000)
        assert page.locator(".job > pre").all_inner_texts() == []  # what a command that fails says
        assert violations(page) == []
        return trained / "checkpoints" / "epoch-0000001", page.locator(".job code").inner_text()


def pipeline(folder=PIPELINE):
    return StableDiffusion3Pipeline.from_pretrained(folder, dtype=torch.float32)


def assert_same(pipe, checkpoint):
    """A pipeline computes what a policy with the weights of a checkpoint does, and these were trained."""
    policy = load_policy("shapes", adapter=checkpoint)
    assert_close(pipeline_velocity(pipe, policy), velocity(policy), rtol=1e-4, atol=1e-5)
    assert float((velocity(policy) - velocity(policy, "base")).abs().max()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["lora"], indirect=True)
def test_an_adapter_is_exported_as_a_file_that_diffusers_reads_through_peft(exported):
    checkpoint, folder = exported
    pipe = pipeline()
    pipe.load_lora_weights(folder)
    (config,) = pipe.transformer.peft_config.values()
    assert isinstance(config, LoraConfig) and config.r == 4
    assert_same(pipe, checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["full"], indirect=True)
def test_all_weights_are_exported_as_a_pipeline_that_diffusers_reads(exported):
    checkpoint, folder = exported
    assert_same(pipeline(folder), checkpoint)
