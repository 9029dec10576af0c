"""The configuration tree. "Reference" is the published setting for SD3.5-Medium (arXiv:2603.12893)."""

from copy import deepcopy
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny

from fdfo.config.bounds import (
    Count,
    CountFromZero,
    Decay,
    Guidance,
    Images,
    NonNegative,
    Pixels,
    Place,
    Positive,
    Rank,
    Seconds,
    Seed,
    Share,
    Steps,
    Tokens,
    Weight,
)
from fdfo.config.presets import expanded
from fdfo.config.section import Section
from fdfo.config.when import When
from fdfo.plugins import named

AttentionKernel = Literal["auto", "flash", "efficient", "cudnn", "math"]
Quantization = Literal["nf4", "int8", "fp8"]


class AdapterConfig(Section):
    """What is trained."""

    kind: Literal["lora", "full"] = "lora"
    """lora: low-rank adapters on the attention projections; full: every weight of the transformer."""
    rank: Rank = 32
    """Rank of the adapters (reference)."""
    alpha: Rank = 64
    """Adapters are scaled by alpha / rank (reference)."""
    targets: tuple[str, ...] | str | None = None
    """Modules that get adapters: `attention` (also null: the family's attention projections of both streams),
    `attention+mlp` (feed-forward layers of the blocks as well), `all-linear` (every linear layer of the blocks), a list
    of ends of names, or a regular expression for whole names."""
    rslora: bool = False
    """Scale adapters by alpha / sqrt(rank) instead (rsLoRA, arXiv:2312.03732): large ranks then learn as fast."""
    dora: bool = False
    """Train the lengths of the weights' rows apart from their directions (DoRA, arXiv:2402.09353)."""
    start: Place | None = None
    """Train on from these weights: a LoRA file or folder (PEFT, diffusers, kohya), a checkpoint, or a run's best.
    Evaluations compare with this start. A LoRA keeps its own rank, scale and modules; with `full` it is merged."""


class PolicyConfig(Section):
    """The model that is trained."""

    name: Place = "shapes"
    """shapes (embedded), a hub id, a pipeline folder, or `path/to/file.py:function`, which makes a policy."""
    revision: Place | None = None
    """Branch, tag or commit of a hub id."""
    adapter: AdapterConfig = AdapterConfig()
    resolution: tuple[Pixels, Pixels] | None = None
    """Height and width of the images in pixels; null: the model's own."""
    guidance: Guidance = 1.0
    """Classifier-free guidance of sampling, training and evaluation; 1 is off (reference)."""
    negative_prompt: str = ""
    """What guidance leads away from."""
    embedded_guidance: NonNegative | None = None
    """The number that a guidance-distilled network reads, as FLUX.1-dev does; null: the pipeline's own."""
    shift: Positive | None = None
    """Shift of the sampling times, t -> shift t / (1 + (shift - 1) t), of images of any size; null: as the model's own
    scheduler places them for this size and number of steps."""
    text_tokens: Tokens | None = None
    """Longest text in tokens; null: the pipeline's own. Of Stable Diffusion 3 this is T5's (its own is 256; the
    reference trains with 128); shapes has its own."""
    t5: bool = True
    """False leaves the T5 encoder out: its tokens are then zero, as in training with T5 dropped."""
    prompt_cache: Place | None = None
    """Folder that keeps encoded prompts between runs, by text and encoder; null: none. 1.7 MB a prompt for SD3.5."""
    prompt_memory_gib: NonNegative = 2.0
    """Host memory for encoded prompts, the least recently used first out; those of a batch are there in any case."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the frozen network; adapters, velocities and all mathematics are float32."""
    quantize: Quantization | None = None
    """Keep the linear layers of the frozen network's blocks in few bits: nf4 (bitsandbytes; 4.5 bits a weight), int8 or
    fp8 (torchao; 8 bits); null: in `dtype`, in which all compute. Adapters stay float32 beside them."""
    quantize_text: Quantization | None = None
    """The same of the text encoders' linear layers."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, 1.6 to 1.8 times the time of training rows."""
    attention: AttentionKernel = "auto"
    """Kernel of torch's scaled dot product attention; auto: torch chooses, on an H200 the fastest (cudnn). cudnn and
    efficient need CUDA."""
    vae_tile: Pixels | None = None
    """Decode larger images in overlapping, blended tiles of so many pixels a side: less memory, slightly other images;
    null: whole images."""
    compile: bool = False
    """Compile the transformer's blocks with torch.compile: a minute or two at the start, faster from then on."""


class RewardConfig(Section):
    """One score; further keys are options of that score."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    """A registered name, or `path/to/file.py:function`."""
    weight: Weight = 1.0
    """Factor of the score in the weighted sum."""
    label: str | None = None
    """Name of the score in logs and reports; null: `name`."""
    when: When | None = None
    """Ask it for some prompts only: fields of their metadata and the values that these must have, as {category: text}
    or {category: [text, counting]}; null: for every prompt. Others are trained on their other scores."""
    standardize: bool = False
    """Train on it less its mean, over its standard deviation, both over all images scored for training so far."""
    device: str | None = None
    """Where its network is: cpu, cuda:1, ...; null: where the run is."""
    both_orders: bool | None = None
    """Ask a score of pairs in both orders and take the mean; null: unless it says that the order does not matter."""
    timeout_s: Seconds | None = None
    """Longest seconds of one call, and of loading your own score, after which the run saves its state and stops; null:
    none. remote and vlm-server, which wait for servers, take it for one request."""
    undecided_within: NonNegative | None = None
    """For a score that compares two images: ask it only where the weighted sums of the other scores differ by this at
    most, and leave the rest to them; null: ask for every pair."""
    offload: bool = False
    """Keep its network in host memory, and on the device only while it scores: slower, and large scores take turns."""

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for the score's constructor, which may change them: a copy at every depth."""
        return deepcopy(self.model_extra or {})

    @property
    def title(self) -> str:
        """The name of this component."""
        return self.label or self.name


RewardList = Annotated[tuple[RewardConfig, ...], BeforeValidator(expanded)]
"""Entries as they are written: names or sections; presets become what they stand for."""


class RewardsOnly(Section):
    """Scores outside a run, as commands take them."""

    reward: RewardList = Field(min_length=1)
    """As in a run."""


PromptList = Annotated[str, BeforeValidator(partial(named, "prompts"))]
"""A name, or a function of the program that makes the configuration, which gets one."""


class PromptsConfig(Section):
    """Where prompts come from."""

    path: Place | None = None
    """File of prompts: lines of text, CSV, TSV, JSON or Parquet; overrides `name`."""
    key: str | None = None
    """Column of the prompts in these files; null: `prompt`, or the one with another usual name."""
    name: PromptList | None = None
    """A registered list, or `path/to/file.py:function`, which gives prompts; null, without a path: the captions of the
    embedded model, for that model alone."""
    pairs_per_epoch: Count = 432
    """Prompts of an epoch, one group of samples each (reference)."""
    eval_path: Place | None = None
    """As `path`, for evaluation."""
    eval_name: PromptList | None = None
    """As `name`, for evaluation; null, without a path: a part of the training prompts that is never trained on (of the
    embedded model, its own captions)."""


class OptimConfig(Section):
    """AdamW (arXiv:1711.05101)."""

    kind: Literal["adamw", "adamw8bit"] = "adamw"
    """adamw8bit keeps the moments in 8 bits (arXiv:2110.02861): a quarter of their memory; needs the [gpu] extra."""
    lr: Annotated[float, Field(ge=1e-12, le=1)] = 3.0e-5
    """Learning rate, which is about what a step changes each weight by (reference)."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What becomes of it from the end of the warm-up to the end of the run: it stays (reference), or falls to 0 along a
    line or half a cosine. A longer run (train.epochs) falls more slowly from then on."""
    warmup: CountFromZero = 0
    """Optimizer steps in which it rises from 0 along a line (reference: none)."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the moments (reference)."""
    updates_per_epoch: Count = 4
    """Optimizer steps an epoch; each gets an equal share of every trajectory (reference: 4)."""
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 1.0e-4
    """Decoupled weight decay (reference)."""
    max_grad_norm: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0
    """Gradients are scaled down to this global norm (reference)."""
    ema: Annotated[float, Field(gt=0, le=0.999_999)] | None = None
    """Decay d of averaged weights, which are then evaluated and exported: min(d, (1 + n) / (10 + n)) at update n, so
    that the weights from before the run are soon forgotten. null: none (reference)."""


class TrainConfig(Section):
    """The loop."""

    epochs: CountFromZero = 100
    """Length of the run; raising it later continues the run; 0 judges the start and trains nothing (reference: 100)."""
    seed: Seed = 0
    """Seed of everything random."""
    micro_batch: Count | Literal["auto"] = "auto"
    """Rows of one forward and backward pass; does not change the result."""
    sample_batch: Count | Literal["auto"] = "auto"
    """Prompts sampled at a time; does not change the result."""
    overlap_scoring: bool | Literal["auto"] = "auto"
    """Score a batch in a thread of its own while the next is sampled; does not change the result. auto: where a score
    is on a server or on another device than the run. On one card both wait for each other, measured: slower."""
    checkpoint_every: Count = 5
    """Epochs between checkpoints."""
    keep: Count = 3
    """Latest checkpoints that are kept, beside the best one."""
    keep_every: Count | None = None
    """Also keep every checkpoint whose epoch is a multiple of this."""
    max_failed_share: Share = 0.1
    """The run stops when a larger share of an epoch's samples has no valid score."""
    collective_timeout_s: Seconds = 3600.0
    """Longest wait of a process for its peers; one that is lost without a trace ends the run by then. An hour, because
    a slow score, or the first download of a model, on one process may keep the others waiting for many minutes."""


class StopConfig(Section):
    """Early stopping."""

    metric: str
    """Name of an evaluated score."""
    patience: Count = 3
    """Evaluations without a new best before the run stops."""


class EvalConfig(Section):
    """Evaluation inside the run, on held-out prompts with fixed seeds."""

    every: Count = 5
    """Epochs between evaluations; the first is before training."""
    at: tuple[Count, ...] = ()
    """Further epochs that are evaluated."""
    raw: bool = False
    """Where averaged weights are judged, judge the trained weights themselves as well."""
    prompts: Count = 192
    """Number of prompts, spread evenly over the list."""
    images_per_prompt: Images = 1
    """Images of every prompt; diversity needs at least 2."""
    noise_seed: Seed = 0
    """Seed of the start noises: not `train.seed`, so that runs with different seeds are compared on the same noise."""
    rewards: RewardList = ()
    """Scores that are not trained on; the training score is always evaluated."""
    diversity: str | None = None
    """Features in which the images of a prompt are compared: pixels, dreamsim, or a score that embeds images (as clip
    does); null: the first score that does, else pixels. Needs two images of a prompt."""
    policy: Place | None = None
    """Another model on which the trained adapter is judged and shown, such as the distilled sibling of the base that is
    trained; null: the trained model itself."""
    resolution: tuple[Pixels, Pixels] | None = None
    """Height and width of the judged images in pixels; null: those of training."""
    guidance: Guidance | None = None
    """Classifier-free guidance of the judged images; null: that of training."""
    steps: Steps = 40
    """Sampling steps (reference: 40)."""
    stop_when: StopConfig | None = None
    """Stop early; null: run to the end."""

    def is_due(self, epoch: int) -> bool:
        """Whether this epoch is evaluated, wherever the run ends."""
        return epoch % self.every == 0 or epoch in self.at


Label = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,99}$")]
"""A name for trackers, of which some make folders."""


class LogConfig(Section):
    """Where else metrics go; metrics.jsonl and the report are always written."""

    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Through accelerate; needs the [tracking] extra."""
    project: Label = "fdfo"
    """Under which trackers file the run."""
    name: Label | None = None
    """What trackers call the run; null: its folder's name."""
    tags: tuple[Label, ...] = ()
    """Tags by which wandb finds the run."""


class Config(Section):
    """Everything that determines a run."""

    policy: PolicyConfig = PolicyConfig()
    method: SerializeAsAny[Section]
    """`name` and the fields of that method's own Config."""
    reward: RewardList = Field(min_length=1)
    prompts: PromptsConfig = PromptsConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    log: LogConfig = LogConfig()

    @property
    def evaluated_policy(self) -> PolicyConfig:
        """The model as it is judged: what `eval` says of it, and else as it is trained."""
        other = {"name": self.eval.policy, "revision": None} if self.eval.policy is not None else {}
        given = {"resolution": self.eval.resolution, "guidance": self.eval.guidance}
        return self.policy.model_copy(update=other | {key: value for key, value in given.items() if value is not None})
