"""A family's tiny pipeline, its folder, policies of it, and what the pipeline itself draws.

Two policies come from one folder or from copies in memory, for loading takes longer than all that is tested.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fdfo.config.tree import AdapterConfig
from fdfo.hub import quiet_loading
from fdfo.models import load_policy
from fdfo.models.families import FAMILIES, Wishes
from fdfo.models.policy import FlowPolicy
from fdfo.models.sizes import in_dtype
from fdfo.records import Conditioning
from tests.models.families.builders import CASES, Case
from tests.models.families.latest import LATEST
from tests.models.families.modular import MODULAR
from tests.models.families.more import MORE
from tests.models.families.others import OTHERS

ALL = CASES | MORE | OTHERS | LATEST | MODULAR
PROMPTS = ["a red circle", "three blue squares above a green one"]
STEPS, GUIDANCE, RANK = 3, 2.5, 4


class World:
    """A family's pipeline with random weights from seed 0, in a folder and in memory."""

    def __init__(self, name: str, folder: Path):
        self.name, self.case, self.folder = name, ALL[name], folder
        self.size = self.case.size
        torch.manual_seed(0)
        with quiet_loading():
            self.pipeline = self.case.build()
            self.case.save(self.pipeline, folder)
        self.pipeline.set_progress_bar_config(disable=True)
        for component in self.pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                component.eval()  # as from_pretrained leaves it
        self.family = FAMILIES[type(self.pipeline).__name__]
        self._policies: dict[tuple[float, torch.dtype], FlowPolicy] = {}

    @contextmanager
    def unrounded(self) -> Iterator[None]:
        """Inside, no module rounds to bfloat16 what else is float32."""
        module = self.case.rounds
        if module is not None:
            module.torch = Unrounded()
        try:
            yield
        finally:
            if module is not None:
                module.torch = torch

    @property
    def guidances(self) -> tuple[float, ...]:
        """Without guidance, and with it where there is any."""
        return (1.0, GUIDANCE)[: 1 + self.case.guided]

    def policy(self, guidance: float, dtype: torch.dtype = torch.float32) -> FlowPolicy:
        """A policy with a new adapter: the plain one of the folder, others of copies."""
        if (guidance, dtype) not in self._policies:
            adapter = AdapterConfig(rank=RANK)
            if (guidance, dtype) == (1, torch.float32):
                policy = load_policy(
                    self.folder, resolution=self.size, text_tokens=self.case.tokens, device="cpu", adapter=adapter
                )
            else:
                plain = self.policy(1.0)
                wishes = Wishes(self.size, guidance, self.case.negative, text_tokens=self.case.tokens)
                if guidance == 1:
                    wishes = replace(wishes, negative_prompt="")
                pipeline = copy.deepcopy(self.pipeline).to(dtype)
                in_dtype(pipeline.transformer, dtype)  # as from_pretrained leaves it
                pipeline.__class__ = type(plain.pipeline)  # one of blocks has a face there
                policy = FlowPolicy(pipeline, self.family, wishes, plain.latent_shape, device=torch.device("cpu"))
                policy.weights.attach(adapter, seed=0)
            self._policies[guidance, dtype] = policy
        return self._policies[guidance, dtype]

    def drawn(self, prompt: str, guidance: float, pipeline: Any = None, steps: int = STEPS) -> tuple[Tensor, ...]:
        """Its start in the layout of the loop, its image [1, 3, H, W], and its times, by the pipeline alone."""
        pipeline = pipeline or self.pipeline
        call = self.case.call if pipeline is self.pipeline else Case.call
        starts, scheduler = [], pipeline.scheduler
        step = type(scheduler).step

        def noting(v: Tensor, t: Any, sample: Tensor, *rest: Any, **options: Any) -> Any:
            starts.append(sample)
            return step(scheduler, v, t, sample, *rest, **options)

        options: dict[str, Any] = dict(self.family.options)
        if self.family.scale is not None:
            options[self.family.scale] = self.family.off + guidance - 1
        if guidance != 1 and self.case.negative:
            options["negative_prompt"] = self.case.negative
        if self.case.tokens is not None:
            options[self.family.longest] = self.case.tokens
        scheduler.step = noting
        try:
            with quiet_loading():
                images = call(
                    pipeline,
                    prompt=prompt,
                    height=self.size[0],
                    width=self.size[1],
                    num_inference_steps=steps,
                    output_type="latent" if pipeline is not self.pipeline else "pt",
                    generator=torch.Generator().manual_seed(len(prompt)),
                    **options,
                )
        finally:
            del scheduler.step
        if self.name == "WanPipeline" and pipeline is self.pipeline:
            images = images[:, 0]  # of a video
        if images.shape[1] == 4 and pipeline is self.pipeline:
            images = images[:, :3] * images[:, 3:] + 1 - images[:, 3:]  # on white
        return starts[0], images, scheduler.sigmas


class Unrounded:
    """Stands for torch in a module: there, bfloat16 is float32."""

    bfloat16 = torch.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextmanager
def double(policy: FlowPolicy, cond: Conditioning) -> Iterator[Conditioning]:
    """Inside, the policy computes in float64, with what this yields; so does its network, which often calls float().

    A layer computes as its weights are: the embedding of the time is float32 in some networks.
    """
    mixed, dtype, values = policy.mixed, policy.dtype, policy.weights.copy()
    single, linear, recorder = torch.Tensor.float, F.linear, policy._recorder
    learnt = recorder.learnt
    recorder._learnt = replace(learnt, told=replace(learnt.told, dtype=torch.float64))
    network = policy.weights.network
    policy.mixed, policy.dtype = False, torch.float64
    network.double()
    torch.Tensor.float = torch.Tensor.double
    F.linear = lambda x, weight, *bias: linear(x.to(weight.dtype), weight, *bias)
    try:
        yield Conditioning(
            tuple({name: t.double() if t.is_floating_point() else t for name, t in row.items()} for row in cond.rows)
        )
    finally:
        torch.Tensor.float, F.linear, recorder._learnt = single, linear, learnt
        network.to(dtype)
        policy.mixed, policy.dtype = mixed, dtype
        policy.weights.set(values)
        for parameter in policy.trainable():
            parameter.grad = None
