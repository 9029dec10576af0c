"""What stands in the place of a model's settings is told in one line."""

import pytest

from fdfo.errors import ModelError
from fdfo.models.source import ModelSource


@pytest.mark.parametrize("content", ["[]", "null", "5"])
def test_what_are_no_settings_is_one_line(tmp_path, content):
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(ModelError, match=r"model_index\.json holds no settings") as caught:
        ModelSource.find(str(tmp_path))
    assert "\n" not in str(caught.value)
    (tmp_path / "model_index.json").write_text('{"_class_name": "X", "vae": ["diffusers", "A"]}')
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"vae/config\.json holds no settings"):
        ModelSource.find(str(tmp_path)).component_config("vae")
