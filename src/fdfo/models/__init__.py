"""Policies: pipelines of diffusers, asked once for each prompt and evaluated here; a line a family."""

from fdfo.models.load import load_policy

__all__ = ["load_policy"]
