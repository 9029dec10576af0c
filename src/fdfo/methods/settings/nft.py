"""Settings of DiffusionNFT; see methods/nft.py."""

from typing import Literal

from fdfo.config.bounds import Decay, NonNegative, Positive, Share
from fdfo.methods.settings.matching import MatchingConfig
from fdfo.methods.settings.terms import PenaltyConfig


class NftConfig(MatchingConfig, PenaltyConfig):
    """Defaults are the published setting for SD3.5-Medium with PickScore."""

    name: Literal["nft"] = "nft"
    beta: Positive = 1.0
    """Strength of the implicit better and worse policies (NFT: 1, and 0.1 for text rendering)."""
    kl_weight: NonNegative = 1.0e-4
    """Weight of the squared velocity distance to the base (NFT: 1e-4)."""
    old_decay_rate: Share = 0.001
    """Growth per epoch of the decay d in old <- d old + (1 - d) current (NFT: 0.001); 0: always the current policy."""
    old_decay_limit: Decay = 0.5
    """Largest decay d (NFT: 0.5)."""
