"""Where a pipeline's files are: the embedded folder, a local folder, or the hub."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub.errors import EntryNotFoundError

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


INDEX, MODULAR_INDEX = "model_index.json", "modular_model_index.json"
"""Where a pipeline says its class and components; the second of one that is made of blocks (models/modular.py)."""


@dataclass(frozen=True)
class ModelSource:
    """A diffusers pipeline that has been found, but not loaded."""

    name: str
    location: str
    """Local folder or hub id, as `from_pretrained` takes it."""
    revision: str | None
    is_embedded: bool
    pipeline_class: str
    index_file: str = INDEX

    @staticmethod
    def find(name: str, revision: str | None = None) -> "ModelSource":
        """Look a model up and read its index. Raises ModelError with the fix."""
        if problem := name_problem(name):
            raise ModelError(problem)
        is_embedded = name in EMBEDDED
        location = str(files("fdfo") / "shapes" / EMBEDDED[name]) if is_embedded else name
        index, file = _index(name, location, revision)
        kind = str(index.get("_class_name", "unknown pipeline"))
        return ModelSource(name, location, revision, is_embedded, kind, file)

    @property
    def index(self) -> dict[str, Any]:
        """Library and class of every component."""
        return {name: _kind(entry) for name, entry in self._written_index.items()}

    @property
    def _written_index(self) -> dict[str, Any]:
        return _read_json(self.name, self.location, self.revision, self.index_file)

    @property
    def components(self) -> dict[str, str]:
        """Class of every component that is there: the index has settings beside them, some of which are lists, too."""
        lists = {name: entry for name, entry in self.index.items() if isinstance(entry, list) and len(entry) == 2}
        return {name: kind for name, (_, kind) in lists.items() if isinstance(kind, str)}

    def has(self, component: str) -> bool:
        """Whether its index names a component, which then is in the folder, too, if it is one."""
        folder = Path(self.location)
        return component in self.components and (not folder.is_dir() or (folder / component).is_dir())

    @property
    def commit(self) -> str | None:
        """The commit of a hub id's files, as the cache has them after loading; None for a folder."""
        if Path(self.location).is_dir():
            return None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(self.location, self.index_file, revision=self.revision)
        assert isinstance(cached, str), f"{self.location} was not loaded"
        return Path(cached).parent.name  # snapshots/COMMIT/model_index.json

    def component_config(self, component: str, file: str = "config.json") -> dict[str, Any]:
        """The small JSON configuration of one component, such as `vae`."""
        location, revision, folder = self.location, self.revision, component
        entry = self._written_index.get(component, []) if self.index_file == MODULAR_INDEX else []
        if len(entry) == 3 and not (Path(location) / component).is_dir():  # it may be of another model
            elsewhere = entry[2]["pretrained_model_name_or_path"]
            revision = revision if elsewhere == location else entry[2].get("revision")
            location, folder = elsewhere, entry[2].get("subfolder") or ""
        return _read_json(self.name, location, revision, str(PurePosixPath(folder) / file))


def name_problem(name: str) -> str | None:
    """Why a name can be no model, known without asking the hub: a hub id of a pipeline has an owner."""
    if is_file_name(name):
        return f"{name}: the policy of a file is no pipeline, and nothing is known of it before it is made"
    return model_name_problem(name)


def encodes_text(component: str) -> bool:
    """Whether a component of this name encodes texts."""
    return component.startswith(("text_encoder", "text_conditioner"))


def _index(name: str, location: str, revision: str | None) -> tuple[dict[str, Any], str]:
    """A pipeline's index and the name of its file: the usual one, where there is none that of a modular pipeline."""
    try:
        return _read_json(name, location, revision, INDEX), INDEX
    except ModelError as error:
        if not isinstance(error.__cause__, FileNotFoundError | EntryNotFoundError):
            raise
        try:
            return _read_json(name, location, revision, MODULAR_INDEX), MODULAR_INDEX
        except ModelError:
            raise error from error.__cause__


def _kind(entry: Any) -> Any:
    """An entry of an index in the usual form: that of a modular pipeline says in its last part what it would load."""
    is_modular = isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], dict)
    return entry[2]["type_hint"] if is_modular else entry


def _read_json(name: str, location: str, revision: str | None, file: str) -> dict[str, Any]:
    if name in ARCHITECTURES and revision is None and not Path(location).is_dir():
        return dict(ARCHITECTURES[name][file])
    path = Path(location) / file if Path(location).is_dir() else Path(_download(location, revision, file))
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{name}: the folder has no {file}; expected a diffusers pipeline folder") from error
    except (BadDocument, UnicodeDecodeError) as error:
        raise ModelError(f"{name}: {file} cannot be read ({error}); download the model again") from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {file} holds no settings, but {content!r:.40}; download the model again")
    return content


def _download(name: str, revision: str | None, file: str) -> str:
    """Fetch one small file of a hub id into the cache. Raises ModelError with the fix."""
    from huggingface_hub import hf_hub_download

    try:
        with reaching_hub(name):
            return hf_hub_download(name, file, revision=revision)
    except LOADING_ERRORS as error:
        raise ModelError(f"{name}: {hub_advice(error, revision)}") from error
