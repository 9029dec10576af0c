"""A hub that goes away in the middle of loading."""

import huggingface_hub
import pytest

from fdfo.errors import ModelError
from fdfo.hub import HTTP_ERROR
from fdfo.models.source import ModelSource


def test_a_hub_that_stops_answering_is_one_message(monkeypatch):
    def stall(*_, **__):
        raise HTTP_ERROR("the read operation timed out")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", stall)
    with pytest.raises(ModelError, match=r"owner/model: the hub stopped answering .* HF_HUB_DOWNLOAD_TIMEOUT"):
        ModelSource.find("owner/model")
