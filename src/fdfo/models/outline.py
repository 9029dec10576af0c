"""What a pipeline can draw, from its small configuration files alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from inspect import signature
from math import isqrt
from pathlib import Path
from typing import Any

import diffusers
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from fdfo.errors import ModelError, install_advice
from fdfo.hub import quiet_loading
from fdfo.models.decoding import TILE_PARTS, vae_channels, vae_factor
from fdfo.models.families import Family, Wishes, family_of
from fdfo.models.layouts import Shape
from fdfo.models.modular import MODULAR, faced
from fdfo.models.source import ModelSource

EULER = "FlowMatchEulerDiscreteScheduler"
"""The scheduler whose steps are those of this project."""

SCHEDULER_FILE = "scheduler_config.json"

USUAL_SIDE = 1024
"""Pixels a side of images where the network's configuration does not say."""


@dataclass(frozen=True)
class Outline:
    """Sizes of a pipeline's latents and images, and what keeps it from being used as asked."""

    source: ModelSource
    family: Family

    @staticmethod
    def of(source: ModelSource) -> "Outline":
        """Raises ModelError for a pipeline of no known family."""
        return Outline(source, family_of(source.name, source.pipeline_class))

    @cached_property
    def network(self) -> Mapping[str, Any]:
        """Configuration of the network."""
        return self.source.component_config("transformer")

    @cached_property
    def channels(self) -> int:
        """Of a latent."""
        return int(self.network.get("in_channels") or self.network["in_visual_dim"]) // self.family.layout.channels

    @cached_property
    def factor(self) -> int:
        """Pixels per latent element along each side: the decoder's, and of its patches where the latent holds those."""
        vae = self.source.component_config("vae")
        return vae_factor(vae) * isqrt(self.channels // vae_channels(vae))

    @cached_property
    def unit(self) -> int:
        """What the sides of an image are multiples of: pixels of what the network reads as one."""
        patch = self.family.layout.side or self.network.get("patch_size") or self.network["all_patch_size"]
        return self.factor * int(patch if isinstance(patch, int) else patch[-1])

    @property
    def native_resolution(self) -> tuple[int, int]:
        """The model's own (height, width) in pixels."""
        own = self.network.get("sample_size")
        side = own * self.factor if isinstance(own, int) else self.source.index.get("default_sample_size") or USUAL_SIDE
        return side, side

    def latent_shape(self, resolution: tuple[int, int]) -> Shape:
        """(C, h, w) of a latent at (height, width)."""
        return self.channels, resolution[0] // self.factor, resolution[1] // self.factor

    @property
    def pipeline_class(self) -> Any:
        """Of diffusers, which then imports the code of this family alone, or of the package that adds it."""
        if self.family.pipeline is not None:
            return self.family.pipeline
        kind = self.source.pipeline_class
        with quiet_loading():
            if not hasattr(diffusers, kind):
                lacks = f"diffusers {diffusers.__version__} has no {kind}"
                raise ModelError(f"{self.source.name}: {lacks}; a newer one may: pip install -U diffusers")
            found = getattr(diffusers, kind)
            return faced(found) if kind.endswith(MODULAR) else found

    def problems(self, wishes: Wishes, vae_tile: int | None = None) -> list[str]:
        """What keeps this model from being used as wished."""
        sides = zip(("height", "width"), wishes.resolution, strict=True)
        problems = {name: self.side_problem(pixels) for name, pixels in sides}
        found = [f"policy.resolution: {name} {problem}" for name, problem in problems.items() if problem]
        if not found and self.family.sizes and tuple(wishes.resolution) not in self.family.sizes:
            found.append(self._size_problem(wishes.resolution))
        needed = self.family.needs
        if needed is not None and find_spec(needed) is None and self.network.get(self.family.needs_if or "", True):
            found.append(f"its pipeline needs {needed}, not installed here; {install_advice(needed)}")
        whole = TILE_PARTS * vae_factor(self.source.component_config("vae"))
        if vae_tile is not None and vae_tile % whole:
            above = -(-vae_tile // whole) * whole
            found.append(f"policy.vae_tile: {vae_tile} is not a multiple of {whole}; use {above}")
        return [*found, *self._unheeded(wishes), *self._scheduler_problems(wishes)]

    def lacks(self, t5: bool) -> list[str]:
        """Components that its pipeline needs and its folder does not have, as diffusers tells only while it loads."""
        is_plain = self.family.pipeline is None and issubclass(self.pipeline_class, DiffusionPipeline)
        if not is_plain or not Path(self.source.location).is_dir():
            return []  # made of blocks, or of a package: loaded in a way of its own
        parts = self.source.components
        made_of = signature(self.pipeline_class.__init__).parameters.values()
        needed = {one.name for one in made_of if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD}
        t5_parts = set(self.family.dispensable)
        gone = {name for name in t5_parts & parts.keys() if not self.source.has(name)}
        missing = (needed - {"self", *self.pipeline_class._optional_components} - parts.keys()) | (gone & needed)
        missing -= set() if t5 else t5_parts
        advice = "add policy.t5=false" if missing <= t5_parts else "give a whole pipeline folder"
        return (
            [f"the folder has no {', '.join(sorted(missing))}, which its pipeline needs; {advice}"] if missing else []
        )

    def _size_problem(self, wanted: tuple[int, int]) -> str:
        """What is wrong with a size that is not of its pipeline's list: the pipeline draws the nearest shape of it."""
        height, width = wanted
        near = min(self.family.sizes, key=lambda size: abs(size[0] / size[1] - height / width))
        others = ", ".join(f"[{h}, {w}]" for h, w in self.family.sizes)
        return (
            f"policy.resolution=[{height}, {width}] is none of the sizes that its pipeline draws, {others}; "
            f"use [{near[0]}, {near[1]}]"
        )

    def _unheeded(self, wishes: Wishes) -> Iterator[str]:
        """What the pipeline has no argument for."""
        accepted, family = signature(self.pipeline_class.__call__).parameters, self.family
        if wishes.guidance != 1 and family.scale is None:
            yield f"policy.guidance={wishes.guidance:g}: this model has no classifier-free guidance; use 1"
        elif wishes.guidance != 1 and self.source.index.get("is_distilled"):
            yield f"policy.guidance={wishes.guidance:g}: this model is distilled and takes no guidance; use 1"
        elif wishes.guidance != 1 and wishes.negative_prompt and "negative_prompt" not in accepted:
            yield "policy.negative_prompt: this model's pipeline takes none; leave it empty"
        reads_guidance = family.embedded is not None and self.embeds_guidance
        if wishes.embedded_guidance is not None and not reads_guidance:
            yield "policy.embedded_guidance: this model's network reads no guidance; use policy.guidance, or null"
        if wishes.text_tokens is not None and family.longest not in accepted:
            yield "policy.text_tokens: this model's pipeline has a length of its own; use null"
        if not wishes.t5 and not family.dispensable:
            yield "policy.t5=false: this model cannot do without any of its text encoders; use true"
        if any((self.source.index.get("transformer_2") or [None])[:1]):
            yield "its network is two, one for each part of the path; use a model with one"
        if self.network.get("use_meanflow"):
            yield "its network is a flow map between two times (mean flow), not a velocity; use its undistilled sibling"

    @property
    def _scheduler(self) -> tuple[str, Mapping[str, Any]]:
        """Its class and configuration; a modular pipeline that names none makes one of its own."""
        kind = self.source.components.get("scheduler")
        return (EULER, {}) if kind is None else (kind, self.source.component_config("scheduler", SCHEDULER_FILE))

    @property
    def embeds_guidance(self) -> bool:
        """Whether the network reads a guidance; where its configuration does not say, its class does."""
        network = getattr(diffusers, self.source.components["transformer"])
        usual = signature(network).parameters.get("guidance_embeds")
        return bool(self.network.get("guidance_embeds", usual is None or usual.default))

    def _scheduler_problems(self, wishes: Wishes) -> Iterator[str]:
        """Why the times of its scheduler cannot be followed by Euler steps."""
        kind, config = self._scheduler
        if kind == EULER:
            unlike = [name for name in ("invert_sigmas", "stochastic_sampling") if config.get(name)]
            yield from (
                f"its scheduler has {name}: true, which Euler steps do not follow; set false" for name in unlike
            )
            return
        if not config.get("use_flow_sigmas"):
            yield f"its scheduler, a {kind}, has no path of flow; put a {EULER} in its folder"
        if wishes.shift is not None:
            yield f"policy.shift: it shifts the times of a {EULER}, and not of a {kind}; use null"

    def notes(self) -> list[str]:
        """What is done otherwise than in the pipeline itself."""
        kind, _ = self._scheduler
        swapped = f"its scheduler is a {kind}: Euler steps between the same times take its place"
        return [f"{self.source.name}: {note}" for note in (self.family.note, kind != EULER and swapped) if note]

    def side_problem(self, pixels: int) -> str | None:
        """What keeps this model from drawing images that are so many pixels high or wide."""
        if pixels % self.unit:
            down, up = pixels // self.unit * self.unit, -(-pixels // self.unit) * self.unit
            return f"{pixels} is not a multiple of {self.unit}; use {down or up} or {up}"
        largest = self.network.get("pos_embed_max_size")
        if largest is not None and pixels > largest * self.unit:
            return f"{pixels} exceeds the model's largest, {largest * self.unit}"
        return None
