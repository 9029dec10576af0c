"""The typed configuration: its tree, how it is loaded and checked, and the shipped recipes."""

from fdfo.config.load import load_config
from fdfo.config.tree import Config

__all__ = ["Config", "load_config"]
