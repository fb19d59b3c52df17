"""Training: the recipe, GRPO, and the supervised warm start of the embedded policy."""

from __future__ import annotations

from lriad.training.recipe import Recipe, load_recipe
from lriad.training.train import train

__all__ = ["Recipe", "load_recipe", "train"]
