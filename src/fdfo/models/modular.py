"""A face for diffusers' modular pipelines, which are made of blocks: they are then asked and called as others are.

Only their blocks for text to image run, as diffusers has them, and none that would write another prompt.
"""

from collections.abc import Mapping
from functools import cache
from inspect import Parameter, Signature
from itertools import pairwise
from typing import Any

import diffusers
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    FeatureExtractionMixin,
    ImageProcessingMixin,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from fdfo.models.source import encodes_text

LIBRARY: Any = diffusers
"""Whose parts are there once they are asked for."""

MODULAR = "ModularPipeline"
"""How the names of their classes end."""

WITHOUT_WEIGHTS = (
    PreTrainedTokenizerBase,
    ProcessorMixin,
    FeatureExtractionMixin,
    ImageProcessingMixin,
    AutoTokenizer,
    AutoProcessor,
    AutoImageProcessor,
    LIBRARY.SchedulerMixin,
)
"""Components that are read from settings and words alone. Any other is read from safetensors: pickles run code."""

REWRITERS = ("prompt_upsampler",)
"""Blocks that write another prompt."""


class Face:
    """What is asked of a pipeline beside its components; the other base is a class of diffusers' modular pipelines."""

    _encoding: Any
    """Blocks that read the prompts, up to the last with a component for texts."""
    _drawing: Any
    """Those up to the latent of the image."""
    _decoding: Any

    @classmethod
    def from_pretrained(
        cls, location: str, *, revision: str | None, dtype: Any, use_safetensors: bool, **left_out: None
    ) -> Any:
        """The pipeline with the components that it needs, less some."""
        made: Any = cls
        pipeline = made(_blocks(cls), location, revision=revision)
        parts = (cls._encoding, cls._drawing, cls._decoding)
        needed = {spec.name: spec.type_hint for blocks in parts for spec in blocks.expected_components}
        for name in needed.keys() & set(pipeline.pretrained_component_names) - left_out.keys():
            spec = pipeline.get_component_spec(name)
            spec.type_hint = _kind(needed[name], spec.type_hint)
            of_models = {"dtype": dtype, "use_safetensors": use_safetensors}
            has_none = isinstance(spec.type_hint, type) and issubclass(spec.type_hint, WITHOUT_WEIGHTS)
            pipeline.register_components(**{name: spec.load(**({} if has_none else of_models))})
        return pipeline

    def save_pretrained(self, folder: Any, **options: Any) -> None:
        """Write all components, and an index that names this folder."""
        LIBRARY.ModularPipeline.save_pretrained(self, str(folder), overwrite_modular_index=True, **options)

    def code(self, base: str, dtype: str, whose: str, given: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Lines that make the pipeline without a face, and that draw with it as a call with these arguments does."""
        blocks, guider = type(_blocks(type(self))).__name__, "ClassifierFreeGuidance"
        options = {name: value for name, value in given.items() if name != "guidance_scale"}
        dropped = [f"blocks.sub_blocks.pop({name!r})" for name in REWRITERS if name in _blocks(type(self)).sub_blocks]
        made = [
            f"from diffusers import {blocks}, {guider}",
            "",
            f"blocks = {blocks}()",
            *dropped,
            f"pipeline = blocks.init_pipeline({base}){whose}",
            f"pipeline.load_components(dtype={dtype})",
        ]
        guided = f"pipeline.update_components(guider={guider}(guidance_scale={given['guidance_scale']!r}))"
        return made, [guided, f"image = pipeline(prompt={{prompt}}{named(options)}, output='images')[0]"]

    def encode_prompt(self, **given: Any) -> Any:
        """What its own encoding blocks leave for the others."""
        return self._run(self._encoding, None, given)

    def _call(self, guidance_scale: float = 1.0, **given: Any) -> Any:
        """Images, or with `output_type="latent"` the latents of them; guidance is the plain one at all steps."""
        self.guider = LIBRARY.ClassifierFreeGuidance(guidance_scale=guidance_scale)
        state = self.encode_prompt(**given)
        state = self._run(self._drawing, state, given)
        if given.get("output_type") == "latent":
            return LIBRARY.ImagePipelineOutput(state.get("latents"))
        return LIBRARY.ImagePipelineOutput(self._run(self._decoding, state, given).get("images"))

    def _run(self, blocks: Any, state: Any, given: dict[str, Any]) -> Any:
        """The state after some of its blocks, with the inputs that they take."""
        own, taken = vars(self)["_blocks"], {one.name for one in blocks.inputs}
        self._blocks = blocks
        try:
            inputs = {name: value for name, value in given.items() if name in taken}
            return LIBRARY.ModularPipeline.__call__(self, state, **inputs)
        finally:
            self._blocks = own


@cache
def faced(kind: Any) -> Any:
    """The class of a modular pipeline with a face, under its own name."""
    blocks = _blocks(kind)
    for name in REWRITERS:
        blocks.sub_blocks.pop(name, None)
    workflow = blocks.get_workflow("text2image")
    accepted = {one.name: one.default for one in workflow.inputs if one.name is not None} | {"guidance_scale": 1.0}
    encoding, drawing, decoding = _parts(workflow)

    def call(self: Any, **given: Any) -> Any:
        return self._call(**given)

    keyword = (Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in accepted.items())
    call.__signature__ = Signature([Parameter("self", Parameter.POSITIONAL_ONLY), *keyword])  # type: ignore[attr-defined]  # is inspected
    members = {"__call__": call, "_encoding": encoding, "_drawing": drawing, "_decoding": decoding}
    return type(kind.__name__, (Face, kind), members)


def named(arguments: Mapping[str, Any]) -> str:
    """Arguments of a call after its first, as code."""
    return "".join(f", {name}={value!r}" for name, value in arguments.items())


def _kind(expected: Any, named: Any) -> Any:
    """The class of a component that blocks expect, or that the index names: where it is such, or of settings alone."""
    if expected is None or not (isinstance(expected, type) and isinstance(named, type)):
        return named if expected is None else expected
    weightless = issubclass(expected, WITHOUT_WEIGHTS) and issubclass(named, WITHOUT_WEIGHTS)
    return named if weightless or issubclass(named, expected) else expected


def _blocks(kind: Any) -> Any:
    return getattr(LIBRARY, kind.default_blocks_name)()


def _parts(workflow: Any) -> list[Any]:
    """Its blocks up to the last that has a component for texts, up to the first with the decoder, and the rest."""
    blocks = workflow.sub_blocks
    of_texts, of_decoder = [], []
    for place, block in enumerate(blocks.values()):
        names = [spec.name for spec in block.expected_components]
        of_texts += [place] * any(map(encodes_text, names))
        of_decoder += [place] * ("vae" in names)
        if hasattr(block, "set_progress_bar_config"):
            block.set_progress_bar_config(disable=True)
    cuts = (0, max(of_texts) + 1, min(of_decoder), len(blocks))
    items = list(blocks.items())
    return [type(workflow).from_blocks_dict(dict(items[a:b])) for a, b in pairwise(cuts)]
