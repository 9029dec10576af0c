"""One lookup for methods, families, policies, rewards and prompt lists: a built-in table, then installed entry points.

The table of families is in models/families.py, which names what is of diffusers.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Literal

from fdfo.errors import FdfoError, ModelError, PluginError, PromptError, RewardError, nearest
from fdfo.guard.contact import Guard, is_ours
from fdfo.guard.files import find_in_file, is_file_name

Kind = Literal["methods", "families", "policies", "rewards", "prompts"]

ERRORS: dict[Kind, type[FdfoError]] = {
    "methods": PluginError,
    "families": ModelError,
    "policies": ModelError,
    "rewards": RewardError,
    "prompts": PromptError,
}
"""What is raised for one of others that cannot be used."""

EXAMPLES: dict[Kind, str] = {
    "methods": "a class of fdfo.interfaces.Method",
    "families": "a fdfo.models.families.Family",
    "policies": "def policy(settings, device), which returns a fdfo.interfaces.Policy",
    "rewards": "def score(images, prompts, metadata)",
    "prompts": "def prompts(), which returns a list of texts",
}
"""What a file may define of each kind."""

BUILT_IN: dict[Kind, dict[str, str]] = {
    "methods": {
        "fdfo": "fdfo.methods.fdfo:FDFO",
        "flow_grpo": "fdfo.methods.flow_grpo:FlowGRPO",
        "ddpo": "fdfo.methods.ddpo:DDPO",
        "refl": "fdfo.methods.refl:ReFL",
        "draft": "fdfo.methods.draft:DRaFT",
        "nft": "fdfo.methods.nft:NFT",
        "awm": "fdfo.methods.awm:AWM",
        "art": "fdfo.methods.art:ART",
        "rvm": "fdfo.methods.rvm:RVM",
        "opsd": "fdfo.methods.opsd:OPSD",
    },
    "families": {},
    "policies": {},
    "rewards": {
        "aesthetic": "fdfo.rewards.aesthetic:Aesthetic",
        "clip": "fdfo.rewards.clip:ClipScore",
        "detect": "fdfo.rewards.detect:Detect",
        "hpsv2": "fdfo.rewards.hpsv2:HpsV2",
        "hpsv3": "fdfo.rewards.hpsv3:HpsV3",
        "ocr": "fdfo.rewards.ocr:OcrAccuracy",
        "pickscore": "fdfo.rewards.clip:PickScore",
        "human": "fdfo.rewards.human:Human",
        "image-reward": "fdfo.rewards.image_reward:ImageReward",
        "jpeg": "fdfo.rewards.jpeg:JpegSize",
        "learned": "fdfo.rewards.learned:Learned",
        "remote": "fdfo.rewards.remote:Remote",
        "shapes-contrastive": "fdfo.rewards.clip:ShapesContrastive",
        "shapes-neatness": "fdfo.shapes.rewards:ShapesNeatness",
        "shapes-verifier": "fdfo.shapes.rewards:ShapesVerifier",
        "unified-reward": "fdfo.rewards.unified_reward:UnifiedReward",
        "unified-reward-pair": "fdfo.rewards.unified_reward:UnifiedRewardPair",
        "unified-reward-1": "fdfo.rewards.unified_reward_1:UnifiedReward1",
        "unified-reward-1-pair": "fdfo.rewards.unified_reward_1:UnifiedReward1Pair",
        "vlm": "fdfo.rewards.vlm:VlmScore",
        "vlm-pair": "fdfo.rewards.vlm:VlmPair",
        "vlm-server": "fdfo.rewards.vlm_server:VlmServer",
    },
    "prompts": {
        "dpg": "fdfo.prompts.benchmarks:dpg",
        "drawbench": "fdfo.prompts.published:drawbench",
        "geneval": "fdfo.prompts.published:geneval",
        "geneval2": "fdfo.prompts.benchmarks:geneval2",
        "hpdv2": "fdfo.prompts.published:hpdv2",
        "longtext-en": "fdfo.prompts.benchmarks:longtext_en",
        "longtext-zh": "fdfo.prompts.benchmarks:longtext_zh",
        "oneig": "fdfo.prompts.published:oneig",
        "parti": "fdfo.prompts.published:parti",
        "ocr-test": "fdfo.prompts.published:ocr_test",
        "pickscore-test": "fdfo.prompts.published:pickscore_test",
        "pickscore-train": "fdfo.prompts.published:pickscore_train",
        "qwen-image-bench": "fdfo.prompts.benchmarks:qwen_image_bench",
        "shapes-train": "fdfo.prompts.shapes:train",
        "shapes-validation": "fdfo.prompts.shapes:validation",
        "shapes-test": "fdfo.prompts.shapes:test",
        "t2i-compbench": "fdfo.prompts.benchmarks:t2i_compbench",
        "unigenbench": "fdfo.prompts.benchmarks:unigenbench",
        "unigenbench-long": "fdfo.prompts.benchmarks:unigenbench_long",
    },
}


SETTINGS = {
    "fdfo": "fdfo.methods.settings.fdfo:FdfoConfig",
    "flow_grpo": "fdfo.methods.settings.flow_grpo:FlowGrpoConfig",
    "ddpo": "fdfo.methods.settings.ddpo:DdpoConfig",
    "refl": "fdfo.methods.settings.refl:ReflConfig",
    "draft": "fdfo.methods.settings.draft:DraftConfig",
    "nft": "fdfo.methods.settings.nft:NftConfig",
    "awm": "fdfo.methods.settings.awm:AwmConfig",
    "art": "fdfo.methods.settings.art:ArtConfig",
    "rvm": "fdfo.methods.settings.rvm:RvmConfig",
    "opsd": "fdfo.methods.settings.opsd:OpsdConfig",
}
"""The `Config` of our own methods, which can be read without their code, and without torch."""


_given: dict[tuple[Kind, str], Any] = {}
"""What a program handed over, by the name that it got."""


def named(kind: Kind, thing: Any) -> Any:
    """The name under which a function or class of this program is found from now on; a name stays what it is."""
    if not callable(thing):
        return thing
    name = f"python:{getattr(thing, '__qualname__', type(thing).__name__)}"
    while _given.get((kind, name), thing) is not thing:
        name += "'"
    _given[kind, name] = thing
    return name


def method_of(config: Any) -> Any:
    """The method that its section of the configuration names, made. Raises PluginError for one that cannot be."""
    found = find("methods", config.name)
    guard = Guard(f"method {config.name!r}", PluginError, is_ours=is_ours(found))
    method = guard("while it was made", lambda: found(config))
    if guard.is_ours:
        return method
    from fdfo.guard.methods import GuardedMethod

    return GuardedMethod(method, guard)


@cache
def entry_points_of(kind: Kind) -> EntryPoints:
    """What installed packages register; read once, since every package is asked."""
    return entry_points(group=f"fdfo.{kind}")


def settings_of(method: str) -> Any:
    """The `Config` of a method; our own are not imported for it. Raises as `find`, AttributeError where it has none."""
    if method in SETTINGS:
        return _imported(SETTINGS[method])
    return find("methods", method).Config


def names(kind: Kind) -> list[str]:
    """All names of a kind: built-in ones and those of installed packages (entry-point group `fdfo.<kind>`)."""
    return sorted({*BUILT_IN[kind], *(point.name for point in entry_points_of(kind))})


def find(kind: Kind, name: str) -> Any:
    """The object registered under `name`, or that `path/to/file.py:name` names; importing it may take seconds.

    Raises PluginError for an unknown name, with the nearest valid one. What is not ours is imported through the guard:
    where it cannot be, or its file or name is missing, the error is that of its kind.
    """
    what = f"{kind[:-3] + 'y' if kind.endswith('ies') else kind.removesuffix('s')} {name!r}"
    if (kind, name) in _given:
        return _given[kind, name]
    if name.startswith("python:"):
        raise ERRORS[kind](f"{what} is part of the program that named it; go on from there, or put it into a file")
    if is_file_name(name):
        return find_in_file(name, what, ERRORS[kind], EXAMPLES[kind])
    if name in BUILT_IN[kind]:
        return _imported(BUILT_IN[kind][name])
    for point in entry_points_of(kind):
        if point.name == name:
            return Guard(f"{what} from entry point {point.value!r}", ERRORS[kind])("while it was imported", point.load)
    raise PluginError(f"unknown {what}; {nearest(name, names(kind))}")


def _imported(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
