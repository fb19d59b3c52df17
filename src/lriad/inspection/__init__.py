"""From photographs to verdicts: one image, many, or a whole data set into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lriad._lazy import attributes_from

if TYPE_CHECKING:
    from lriad.inspection.evaluate import evaluate_policy, save_report
    from lriad.inspection.inspector import Inspector
    from lriad.inspection.run import Summary, inspect_rows, inspect_to_file

__all__ = ["Inspector", "Summary", "evaluate_policy", "inspect_rows", "inspect_to_file", "save_report"]

__getattr__ = attributes_from(
    __name__,
    {
        "Inspector": "lriad.inspection.inspector",
        "Summary": "lriad.inspection.run",
        "evaluate_policy": "lriad.inspection.evaluate",
        "inspect_rows": "lriad.inspection.run",
        "inspect_to_file": "lriad.inspection.run",
        "save_report": "lriad.inspection.evaluate",
    },
)
