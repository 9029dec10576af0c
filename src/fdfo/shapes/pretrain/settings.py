"""What a pre-training run is made of; the defaults made the shipped models, LARGE a larger world of the same scenes."""

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from json import dumps


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the pictures and the networks are."""

    magnification: int = 1
    """Pixels a unit of the scene: pictures are 32 times as wide, latents 8 times."""
    latent_channels: int = 8
    layers: int = 4
    heads: int = 4
    """Of 32 numbers each."""
    shift: float = 1.0
    """Time shift of the scheduler; the times of training are moved likewise (arXiv:2403.03206, Sec. 5.3.2)."""

    @property
    def width(self) -> int:
        """Numbers a token."""
        return 32 * self.heads


@dataclass(frozen=True, kw_only=True)
class Training:
    """One stage: AdamW at `lr`, constant until `decay_from` of the steps, then falling linearly to zero."""

    steps: int
    lr: float
    muon_lr: float | None = None
    """Where given, Muon (torch.optim.Muon, torch >= 2.9) trains the matrices of the transformer blocks at this rate."""
    decay_from: float = 0.5
    batch: int = 64
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema: float = 0.999
    """Decay of the average of the weights that is kept in the end; its start is bias-free (a running mean)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole run. Checkpoints whose `fingerprint` is another one are not continued."""

    seed: int = 0
    size: Size = Size()
    pictures: int = 100_000
    wrong_captions: float = 0.30
    """Share of good pictures whose caption has one mistake; gives post-training something to do, as the web does."""
    bad_pictures: float = 0.12
    """Share of pictures that are merged, faded, blurred or grainy under a right caption."""
    caption_dropout: float = 0.1
    """Share of training items without a caption, for classifier-free guidance."""
    kl_weight: float = 1e-4
    """Of the autoencoder, per latent element, against the squared error of pictures in [-1, 1]."""
    vae: Training = Training(steps=3000, lr=1.5e-3, batch=8, decay_from=0.4, ema=0.995)
    flow: Training = Training(steps=8500, lr=2e-3, muon_lr=0.02)
    contrastive: Training = Training(steps=2200, lr=2e-3, weight_decay=0.1, ema=0.99)
    card_pictures: int = 720
    """Pictures a setting of the model card is measured on."""

    def scaled(self, factor: float) -> "Settings":
        """The same run with `factor` times the pictures and steps, at least a few of each."""

        def few(count: int, least: int) -> int:
            return max(least, round(count * factor))

        return replace(
            self,
            pictures=few(self.pictures, 256),
            vae=replace(self.vae, steps=few(self.vae.steps, 2)),
            flow=replace(self.flow, steps=few(self.flow.steps, 2)),
            contrastive=replace(self.contrastive, steps=few(self.contrastive.steps, 2)),
            card_pictures=few(self.card_pictures, 6),
        )

    def fingerprint(self, stage: str) -> str:
        """16 hexadecimal digits that change with any field the result of `stage` depends on."""
        fields = {name: asdict(self)[name] for name in _DEPENDS_ON[stage]}
        return blake2b(dumps([stage, fields], sort_keys=True).encode(), digest_size=8).hexdigest()


LARGE = Settings(
    size=Size(magnification=2, latent_channels=16, layers=4, heads=8, shift=2.0),
    flow=Training(steps=4000, lr=1.5e-3, muon_lr=0.02),
)
"""Pictures of 64 pixels, latents of 4096 numbers, 10 million weights."""


_PICTURES = ("seed", "size", "pictures", "wrong_captions", "bad_pictures")
_AUTOENCODER = (*_PICTURES, "kl_weight", "vae")
_DEPENDS_ON = {
    "pictures": _PICTURES,
    "autoencoder": _AUTOENCODER,
    "flow": (*_AUTOENCODER, "caption_dropout", "flow"),
    "contrastive": ("seed", "contrastive"),
}


def stream_seed(*key: object) -> int:
    """A seed in [0, 2^63) for one use of randomness, such as ("flow", seed, step); the same on every machine."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1
