"""Which images a run draws."""

from __future__ import annotations

from collections.abc import Sequence

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
