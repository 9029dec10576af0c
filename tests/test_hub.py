"""A hub that goes away in the middle of loading, or was never there."""

import socket
import time

import huggingface_hub
import pytest
from huggingface_hub import constants

from fdfo.errors import ModelError
from fdfo.hub import _CLIENT, HTTP_ERROR, hub_advice
from fdfo.models import load_policy
from fdfo.models.source import ModelSource
from tests.test_cli import fdfo

KNOWN = "stabilityai/stable-diffusion-3.5-medium"
"""Its small files need no hub; its weights do."""

NOT_REACHED = "the hub cannot be reached; check the connection, or download the model elsewhere"


def test_a_hub_that_stops_answering_is_one_message(monkeypatch):
    def stall(*_, **__):
        raise HTTP_ERROR("the read operation timed out")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", stall)
    with pytest.raises(ModelError, match=r"owner/model: the hub stopped answering .* HF_HUB_DOWNLOAD_TIMEOUT"):
        ModelSource.find("owner/model")


@pytest.fixture(params=["no address", "offline mode"])
def unreachable(request, monkeypatch, tmp_path):
    """A hub whose name does not resolve, or that the user switched off, and an empty cache."""

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", request.param == "offline mode")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("name", [KNOWN, "nobody/nothing"])
def test_a_hub_that_cannot_be_reached_is_said_at_once(unreachable, monkeypatch, caplog, name):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    offline = constants.HF_HUB_OFFLINE
    with pytest.raises(ModelError, match=NOT_REACHED):
        load_policy(name)
    assert offline == constants.HF_HUB_OFFLINE
    assert not [record for record in caplog.records if record.name.startswith("huggingface_hub")]


def test_a_hub_that_refuses_the_connection_is_not_one_that_stopped():
    wrapped = OSError("cannot load")
    wrapped.__cause__ = _CLIENT.ConnectError("refused")
    assert NOT_REACHED in hub_advice(wrapped, None)


def test_a_name_without_an_owner_never_goes_to_the_hub(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("asked the hub"))
    code, _, err = fdfo(monkeypatch, capsys, "train", "shapes", "policy.name=shape", "--run", tmp_path / "run")
    assert code == 2
    assert "policy.name=shape: no such folder" in err
    assert "did you mean 'shapes'?" in err
    with pytest.raises(ModelError, match="did you mean 'shapes'"):
        load_policy("shape")
