"""Policies: thin adapters over diffusers pipelines, one file a family."""

from fdfo.models.load import load_policy

__all__ = ["load_policy"]
