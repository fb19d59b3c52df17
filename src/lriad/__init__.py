"""LR-IAD: industrial anomaly detection with a reasoning vision-language model, learned from yes/no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lriad._lazy import attributes_from
from lriad._version import __version__
from lriad.errors import LriadError

if TYPE_CHECKING:
    from lriad.data import Sample, load_dataset
    from lriad.evaluation import evaluate_predictions
    from lriad.inspection import Inspector
    from lriad.memory import Memory, load_memory, remember
    from lriad.training.train import train
    from lriad.verdict import Verdict

__all__ = [
    "Inspector",
    "LriadError",
    "Memory",
    "Sample",
    "Verdict",
    "__version__",
    "evaluate_predictions",
    "load_dataset",
    "load_memory",
    "remember",
    "train",
]

__getattr__ = attributes_from(
    __name__,
    {
        "Inspector": "lriad.inspection",
        "Memory": "lriad.memory",
        "Sample": "lriad.data",
        "Verdict": "lriad.verdict",
        "evaluate_predictions": "lriad.evaluation",
        "load_dataset": "lriad.data",
        "load_memory": "lriad.memory",
        "remember": "lriad.memory",
        "train": "lriad.training",
    },
)
