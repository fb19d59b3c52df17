"""LR-IAD: industrial anomaly detection with a reasoning vision-language model, learned from yes/no labels."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lriad._version import __version__
from lriad.errors import LriadError

if TYPE_CHECKING:
    from lriad.data import Sample, load_dataset
    from lriad.evaluation import evaluate_predictions
    from lriad.inspection import Inspector
    from lriad.training import train
    from lriad.verdict import Verdict

__all__ = [
    "Inspector",
    "LriadError",
    "Sample",
    "Verdict",
    "__version__",
    "evaluate_predictions",
    "load_dataset",
    "train",
]

_HOMES = {
    "Inspector": "lriad.inspection",
    "Sample": "lriad.data",
    "Verdict": "lriad.verdict",
    "evaluate_predictions": "lriad.evaluation",
    "load_dataset": "lriad.data",
    "train": "lriad.training",
}


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; `import lriad` and `lriad --help` must not.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lriad' has no attribute {name!r}")
