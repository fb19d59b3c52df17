"""Metrics, tables and the paper's numbers beside ours."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lriad.evaluation.evaluate import Difference, Evaluation, evaluate_predictions, paired_difference
    from lriad.evaluation.predictions import read_predictions
    from lriad.evaluation.tables import compare_table

__all__ = [
    "Difference",
    "Evaluation",
    "compare_table",
    "evaluate_predictions",
    "paired_difference",
    "read_predictions",
]

_HOMES = {
    "Difference": "evaluate",
    "Evaluation": "evaluate",
    "compare_table": "tables",
    "evaluate_predictions": "evaluate",
    "paired_difference": "evaluate",
    "read_predictions": "predictions",
}


def __getattr__(name: str) -> Any:
    # numpy and scikit-learn are loaded with the function that needs them.
    if name in _HOMES:
        return getattr(import_module(f"lriad.evaluation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'lriad.evaluation' has no attribute {name!r}")
