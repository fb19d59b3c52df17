"""From photographs to verdicts: one image, many, or a whole data set into a file."""

from lriad.inspection.evaluate import evaluate_policy, save_report
from lriad.inspection.inspector import Inspector
from lriad.inspection.run import Summary, inspect_rows, inspect_to_file

__all__ = ["Inspector", "Summary", "evaluate_policy", "inspect_rows", "inspect_to_file", "save_report"]
