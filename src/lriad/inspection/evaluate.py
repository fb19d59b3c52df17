"""A policy judged on a data set: inspection into a run folder, then the report beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.inspection.run import inspect_to_file

if TYPE_CHECKING:
    from lriad.evaluation import Evaluation
    from lriad.memory import Memory


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
    samples, remembered = _not_remembered(samples, settings.get("memory"))
    inspect_to_file(samples, predictions, **settings)
    # The truth as it is now: labels may have been corrected since the image was inspected.
    truth = {
        sample.id: {"truth": sample.label, "defect_type": sample.defect_type, "mask": sample.mask} for sample in samples
    }
    rows = [row | truth[row["id"]] for row in read_predictions(predictions) if row["id"] in truth]
    evaluation = evaluate_predictions(rows)
    if remembered:
        left_out = f"{remembered} images of the data set are in the memory, or its rule's: they are left out."
        evaluation = replace(evaluation, notes=(*evaluation.notes, left_out))
    save_report(evaluation, folder)
    return evaluation


def _not_remembered(samples: Sequence[Sample], memory: str | Path | Memory | None) -> tuple[Sequence[Sample], int]:
    """The samples that a memory was not made of, and how many it was; by their pixels and their groups."""
    if memory is None:
        return samples, 0
    from lriad.data.image import open_image, pixel_hash
    from lriad.memory import load_memory

    known = load_memory(memory) if isinstance(memory, str | Path) else memory
    kept = []
    for sample in samples:
        try:
            pixels = pixel_hash(open_image(sample.image))
        except LriadError:
            pixels = ""  # It becomes an error's row.
        if pixels not in known.defects and known.group_of(pixels, sample.group) is None:
            kept.append(sample)
    return kept, len(samples) - len(kept)


def save_report(evaluation: Evaluation, folder: str | Path) -> None:
    """Write `metrics.json`, `table.md` and `table.csv` into a folder, which is made if missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False)
    (folder / "metrics.json").write_text(report + "\n", encoding="utf-8")
    (folder / "table.md").write_text(evaluation.to_markdown() + "\n", encoding="utf-8")
    (folder / "table.csv").write_text(evaluation.to_csv(), encoding="utf-8")
