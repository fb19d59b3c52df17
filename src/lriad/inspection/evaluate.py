"""A policy judged on a data set: inspection into a run folder, then the report beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lriad.data.sample import Sample
from lriad.inspection.run import inspect_to_file

if TYPE_CHECKING:
    from lriad.evaluation import Evaluation


def evaluate_policy(samples: Sequence[Sample], folder: str | Path, **settings: Any) -> Evaluation:
    """Inspect samples into `folder/predictions.jsonl`, resuming, and write the report beside it.

    Args:
        samples: What to inspect; those of unknown label are inspected and left out of the report.
        folder: The run folder; made if missing.
        settings: As for `inspect_to_file`: `policy`, `mode`, `threshold`, `processes`, …

    Returns:
        The evaluation over `samples`, also where the file holds rows of more images.

    Raises:
        LriadError: As `inspect_to_file` and `lriad.evaluation.evaluate_predictions`.
    """
    from lriad.evaluation import evaluate_predictions, read_predictions

    predictions = Path(folder) / "predictions.jsonl"
    inspect_to_file(samples, predictions, **settings)
    # The truth as it is now: labels may have been corrected since the image was inspected.
    truth = {
        sample.id: {"truth": sample.label, "defect_type": sample.defect_type, "mask": sample.mask} for sample in samples
    }
    rows = [row | truth[row["id"]] for row in read_predictions(predictions) if row["id"] in truth]
    evaluation = evaluate_predictions(rows)
    save_report(evaluation, folder)
    return evaluation


def save_report(evaluation: Evaluation, folder: str | Path) -> None:
    """Write `metrics.json`, `table.md` and `table.csv` into a folder, which is made if missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False)
    (folder / "metrics.json").write_text(report + "\n", encoding="utf-8")
    (folder / "table.md").write_text(evaluation.to_markdown() + "\n", encoding="utf-8")
    (folder / "table.csv").write_text(evaluation.to_csv(), encoding="utf-8")
