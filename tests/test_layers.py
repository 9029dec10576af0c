"""Who may import whom, what an import may do, and that configuration fields and extras are what they are said to be."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from pydantic import BaseModel

SOURCE = Path(__file__).parents[1] / "src" / "fdfo"
FILES = sorted(SOURCE.rglob("*.py"))

ALLOWED = {  # top-level packages of fdfo that one may import, beside itself, fdfo.errors, fdfo.visible and fdfo.words
    "flow": set(),
    "objectives": set(),
    "records": {"objectives"},
    "files": set(),
    "visible": set(),
    "words": set(),
    "documents": set(),
    "pictures": {"files"},
    "hub": set(),
    "machine": set(),
    "kernel_lock": set(),
    "locks": {"kernel_lock"},
    "own": {"files"},
    "background": set(),
    "limits": set(),
    "guard": {"background"},
    "plugins": {"guard"},
    "offload": set(),
    "drawing": {"flow", "objectives", "records", "interfaces"},
    "look": set(),
    "web": set(),
    "studio": {"web", "look", "files", "config", "evaluation", "kernel_lock", "locks", "own"},
    "interfaces": {"flow", "records"},
    "config": {"guard", "limits", "plugins", "documents", "shapes"},
    "methods": {"flow", "objectives", "records", "interfaces", "config"},
    "models": {"flow", "records", "interfaces", "config", "plugins", "hub", "files", "documents", "offload"}
    | {"pictures", "guard", "drawing"},
    "rewards": {"records", "objectives", "guard", "interfaces", "config", "plugins", "hub", "files", "own", "offload"}
    | {"web", "studio"},
    "prompts": {"guard", "limits", "flow", "records", "interfaces", "plugins", "shapes", "files", "documents"}
    | {"config"},
    "shapes": {"records", "interfaces", "files"},
    "evaluation": {"flow", "objectives", "records", "interfaces", "config", "files", "look", "own", "documents"}
    | {"pictures", "drawing"},
    "planning": {"interfaces", "config", "plugins", "models"},
    "comparison": {"flow", "records", "interfaces", "config", "plugins", "files", "prompts", "models", "training"}
    | {"evaluation", "documents", "own", "machine"},
}
ONLY_IN = {"diffusers": {"models", "shapes", "hub"}, "peft": {"models"}, "accelerate": {"training"}, "uvicorn": {"web"}}
PURE = {"flow": {"torch", "numpy"}, "objectives": {"torch"}}


def package(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path, top_level_only=False):
    """Dotted names of everything a file imports."""
    tree = parsed(path)
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_layers(path):
    own = package(path)
    for name in imported(path):
        root, *rest = name.split(".")
        if root == "fdfo" and rest:
            fits = own not in ALLOWED or rest[0] in ALLOWED[own] | {own, "errors", "visible", "words"}
            assert fits, f"{own} must not import fdfo.{rest[0]}"
        if root in ONLY_IN:
            assert own in ONLY_IN[root], f"{root} belongs to {ONLY_IN[root]}"
        if own in PURE and root not in sys.stdlib_module_names:
            assert root in PURE[own] | {"fdfo"}, f"{own} is pure mathematics and must not import {root}"


@pytest.mark.parametrize("path", [p for p in FILES if package(p) not in ("models", "shapes")], ids=lambda p: p.name)
def test_only_models_name_a_pipeline_or_policy_class(path):
    """Not in strings either: everything else knows interfaces.Policy."""
    named = re.findall(r"\b\w+Pipeline\b|\b\w+Policy\b", path.read_text(encoding="utf-8"))
    assert set(named) <= {"CountingPolicy"}  # counts the evaluations of a method; evaluates nothing


def module(path):
    """The dotted name of a file."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other_in_a_circle():
    """Those that are imported inside functions or for type checking alone included."""
    modules = {module(path): path for path in FILES}
    graph = {}
    for name, path in modules.items():
        named = {
            f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in modules else node.module
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        graph[name] = named & modules.keys()
    assert len(list(TopologicalSorter(graph).static_order())) == len(modules)  # raises CycleError with the circle


@pytest.mark.parametrize("path", [p for p in FILES if package(p) == "config"], ids=lambda p: p.name)
def test_the_configuration_does_not_import_torch(path):
    assert not {name.split(".")[0] for name in imported(path)} & {"torch", "diffusers", "transformers"}


def test_importing_fdfo_loads_nothing_heavy():
    code = "import sys, fdfo; print(sorted({'torch', 'pydantic', 'numpy', 'rich', 'typer'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def sections(cls):
    yield cls
    for sub in cls.__subclasses__():
        yield from sections(sub)


def test_every_configuration_field_is_read_somewhere():
    from fdfo.config import tree
    from fdfo.config.section import Section
    from fdfo.plugins import BUILT_IN, find

    assert issubclass(tree.Config, BaseModel)
    for name in BUILT_IN["methods"]:
        find("methods", name)
    read = {
        node.attr
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    ours = [cls for cls in sections(Section) if cls.__module__.startswith("fdfo.")]
    unread = [f"{cls.__name__}.{name}" for cls in ours for name in cls.model_fields if name not in read]
    assert len(ours) > 8
    assert unread == []


def test_every_package_that_a_message_says_to_install_is_one_of_ours_and_no_message_names_an_extra():
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = {re.split(r"[\[><=]", one)[0] for group in project["optional-dependencies"].values() for one in group}
    sources = [path.read_text(encoding="utf-8") for path in FILES]
    told = {
        name
        for text in sources
        for call in re.findall(r"install_advice\(([^)*]*)\)", text)
        for name in re.findall(r"['\"]([\w-]+)['\"]", call)
    }
    assert told and told <= ours
    assert not [name for text in sources for name in re.findall(r"pip install [^ ]*fdfo\[\w+\]", text)]


def test_files_and_functions_stay_small():
    long_files = [str(p) for p in FILES if len(p.read_text(encoding="utf-8").splitlines()) > 330]
    assert long_files == []
    long_functions = [
        f"{path.name}:{node.name}"
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 75
    ]
    assert long_functions == []
