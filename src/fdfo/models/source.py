"""Where a pipeline's files are: the embedded folder, a local folder, or the hub."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from fdfo.config.checks import model_name_problem
from fdfo.documents import BadDocument, parse_json
from fdfo.errors import ModelError
from fdfo.guard.files import is_file_name
from fdfo.hub import LOADING_ERRORS, hub_advice, reaching_hub
from fdfo.models.architectures import ARCHITECTURES

EMBEDDED = {"shapes": "assets/pipeline"}
"""Names of the pipelines that ship inside the package, under fdfo/shapes."""

EMBEDDED_TEXT_TOKENS = 1
"""T5 tokens that the embedded pipelines were trained with (zeros)."""


MODULAR_INDEX = "modular_model_index.json"
"""Of pipelines that are made of blocks; their class then says what becomes of them (models/families.py)."""


@dataclass(frozen=True)
class ModelSource:
    """A diffusers pipeline that has been found, but not loaded."""

    name: str
    location: str
    """Local folder or hub id, as `from_pretrained` takes it."""
    revision: str | None
    is_embedded: bool
    pipeline_class: str

    @staticmethod
    def find(name: str, revision: str | None = None) -> "ModelSource":
        """Look a model up and read its model_index.json. Raises ModelError with the fix."""
        if problem := name_problem(name):
            raise ModelError(problem)
        is_embedded = name in EMBEDDED
        location = str(files("fdfo") / "shapes" / EMBEDDED[name]) if is_embedded else name
        index = _read_json(name, location, revision, _index_file(Path(location)))
        return ModelSource(name, location, revision, is_embedded, str(index.get("_class_name", "unknown pipeline")))

    @property
    def index(self) -> dict[str, Any]:
        """Its model_index.json: library and class of every component."""
        return _read_json(self.name, self.location, self.revision, "model_index.json")

    @property
    def components(self) -> dict[str, str]:
        """Class of every component that is there: the index has settings beside them, some of which are lists, too."""
        lists = {name: entry for name, entry in self.index.items() if isinstance(entry, list) and len(entry) == 2}
        return {name: kind for name, (_, kind) in lists.items() if isinstance(kind, str)}

    @property
    def commit(self) -> str | None:
        """The commit of a hub id's files, as the cache has them after loading; None for a folder."""
        if Path(self.location).is_dir():
            return None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(self.location, "model_index.json", revision=self.revision)
        assert isinstance(cached, str), f"{self.location} was not loaded"
        return Path(cached).parent.name  # snapshots/COMMIT/model_index.json

    def component_config(self, component: str, file: str = "config.json") -> dict[str, Any]:
        """The small JSON configuration of one component, such as `vae`."""
        return _read_json(self.name, self.location, self.revision, f"{component}/{file}")


def name_problem(name: str) -> str | None:
    """Why a name can be no model, known without asking the hub: a hub id of a pipeline has an owner."""
    if is_file_name(name):
        return f"{name}: the policy of a file is no pipeline, and nothing is known of it before it is made"
    return model_name_problem(name)


def _index_file(folder: Path) -> str:
    """Where a pipeline says its class; a hub id is asked for the usual one."""
    is_modular = not (folder / "model_index.json").is_file() and (folder / MODULAR_INDEX).is_file()
    return MODULAR_INDEX if is_modular else "model_index.json"


def _read_json(name: str, location: str, revision: str | None, file: str) -> dict[str, Any]:
    if name in ARCHITECTURES and revision is None and not Path(location).is_dir():
        return dict(ARCHITECTURES[name][file])
    path = Path(location) / file if Path(location).is_dir() else Path(_download(name, revision, file))
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{name}: the folder has no {file}; expected a diffusers pipeline folder") from None
    except (BadDocument, UnicodeDecodeError) as error:
        raise ModelError(f"{name}: {file} cannot be read ({error}); download the model again") from None
    return content


def _download(name: str, revision: str | None, file: str) -> str:
    """Fetch one small file of a hub id into the cache. Raises ModelError with the fix."""
    from huggingface_hub import hf_hub_download

    try:
        with reaching_hub(name):
            return hf_hub_download(name, file, revision=revision)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: {hub_advice(error, revision)}") from error
