"""Which images a run draws."""

from __future__ import annotations

import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from lriad.data import Sample
from lriad.training.recipe import Recipe


def drawn_samples(samples: Sequence[Sample], recipe: Recipe) -> list[Sample]:
    """The samples of one epoch before its shuffle: all of them once, or both labels equally often."""
    if not recipe.balance_classes:
        return list(samples)
    return [samples[index] for index in balanced_indices([sample.label for sample in samples])]


def balanced_indices(labels: Sequence[str]) -> list[int]:
    """Indices in which both labels are equally frequent: the rarer label's images come several times."""
    defects = [i for i, label in enumerate(labels) if label == "defect"]
    normals = [i for i, label in enumerate(labels) if label != "defect"]
    longest = max(len(defects), len(normals))
    return [side[i % len(side)] for i in range(longest) for side in (normals, defects) if side]


def further_indices(first: AbstractSet[int], total: int, rounds: int, seed: int, step: int) -> list[int]:
    """The prompts of an update's further rounds of sampling, in their order; they hang on seed and step alone.

    Args:
        first: Indices of the first round, not drawn again.
        total: Number of images that can be drawn.
        rounds: Rounds of sampling, the first one included; there are images for all of them while the data set lasts.
        seed: The run's.
        step: Updates so far.
    """
    if rounds == 1:
        return []
    # Enough without the first ones. Balanced classes list an image of the rarer one several times: it may come again.
    drawn = random.Random(f"{seed} {step}").sample(range(total), min(total, rounds * len(first)))
    return [index for index in drawn if index not in first]
