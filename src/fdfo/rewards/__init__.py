"""Scores of images for their prompts: built-in ones, a user's file, and their weighted sum."""

from fdfo.rewards.build import build_reward
from fdfo.rewards.loaded import load
from fdfo.rewards.weighted import WeightedSum

__all__ = ["WeightedSum", "build_reward", "load"]
