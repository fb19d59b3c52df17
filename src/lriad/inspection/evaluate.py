"""A policy judged on a data set: inspection into a run folder, then the report beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.inspection.few_shot import Category, Shots, by_category, make_memories
from lriad.inspection.run import inspect_to_file

if TYPE_CHECKING:
    from lriad.data.views import Views
    from lriad.evaluation import Evaluation
    from lriad.memory import Memory
    from lriad.policy import Policy

PREDICTIONS = "predictions.jsonl"


def evaluate_policy(
    samples: Sequence[Sample],
    folder: str | Path,
    *,
    shots: Mapping[Category, Shots] | None = None,
    explain: bool = False,
    **settings: Any,
) -> Evaluation:
    """Inspect samples into `folder/predictions.jsonl`, resuming, and write the report beside it.

    Args:
        samples: What to inspect; those of unknown label are inspected and left out of the report.
        folder: The run folder; made if missing.
        shots: What is known of each category, as `lriad.inspection.few_shot.divide` draws it beside the samples: a
            memory of it is made in `folder/memories` with the policy, and images are inspected with their category's.
            None for zero-shot, or for the one `memory` of the settings.
        explain: Whether each image's heat-map is kept in `folder/maps`, compared with masks and shown in the report.
        settings: As for `inspect_to_file`: `policy`, `mode`, `threshold`, `processes`, …

    Returns:
        The evaluation over `samples`, also where the file holds rows of more images.

    Raises:
        LriadError: As `inspect_to_file`, `lriad.evaluation.evaluate_predictions` and
            `lriad.inspection.few_shot.make_memories`.
    """
    from lriad.evaluation import evaluate_predictions

    maps = Path(folder) / "maps" if explain else None
    if shots is None:
        rows, remembered = predict(samples, Path(folder) / PREDICTIONS, maps=maps, **settings)
    else:
        rows, remembered = _predict_few_shot(samples, Path(folder), shots, maps=maps, **settings)
    evaluation = evaluate_predictions(rows, maps=maps)
    notes = list(evaluation.notes)
    if shots is not None:
        known = sum(len(own.good) + len(own.defects) for own in shots.values())
        notes.append(f"In the categories' memories are {known} images; these and their groups are not tested.")
    if remembered:
        notes.append(f"{remembered} images of the data set are in the memory, or its rule's: they are left out.")
    without = [] if maps is None else [row for row in rows if not row.get("error") and not _has_map(row, maps)]
    if without:
        notes.append(f"{len(without)} images were inspected without heat-maps: to have them, name another folder.")
    evaluation = replace(evaluation, notes=tuple(notes))
    save_report(evaluation, rows, folder, maps)
    return evaluation


def predict(samples: Sequence[Sample], file: str | Path, **settings: Any) -> tuple[list[dict[str, Any]], int]:
    """Inspect samples into a file, resuming.

    Args:
        samples: What to inspect.
        file: A `.jsonl` or `.csv` file.
        settings: As for `inspect_to_file`.

    Returns:
        The rows of the samples, and how many samples were left out because the memory in use was made of them.
    """
    _check_product(samples, settings.get("memory"))
    samples, remembered = _not_remembered(samples, settings.get("memory"))
    inspect_to_file(samples, file, **settings)
    return rows_of(samples, file), remembered


def _predict_few_shot(
    samples: Sequence[Sample],
    folder: Path,
    shots: Mapping[Category, Shots],
    *,
    policy: str | Path | Policy = "embedded",
    device: str | None = None,
    processes: int = 1,
    views: Views | None = None,
    **settings: Any,
) -> tuple[list[dict[str, Any]], int]:
    """As `predict`, each category with its own memory; all of these are made first."""
    if settings.get("memory") is not None or settings.get("references"):
        raise LriadError("shots are what a memory is made of: give no other memory, and no references")
    loaded: Any = policy
    if isinstance(policy, str | Path):
        if str(policy).startswith(("http://", "https://")):
            raise LriadError("a memory needs the policy's own eyes, which a server does not show: load the policy here")
        from lriad.policy import load_policy

        loaded = load_policy(str(policy), device=device)
    if missing := by_category(samples).keys() - shots.keys():
        raise LriadError(f"category {min(missing)[1]!r}: no good images were drawn of it; draw with `divide`")
    files = make_memories(shots, folder / "memories", loaded, views)
    if processes > 1:
        from lriad.policy.loading import free_memory

        loaded = policy  # Each process loads its own, for which ours makes room.
        free_memory()
    rows: list[dict[str, Any]] = []
    remembered = 0
    settings |= {"policy": loaded, "device": device, "processes": processes}
    for category, own in by_category(samples).items():
        found, copies = predict(own, folder / PREDICTIONS, **{**settings, "memory": files[category]})
        rows += found
        remembered += copies
    return rows, remembered


def rows_of(samples: Sequence[Sample], file: str | Path) -> list[dict[str, Any]]:
    """The rows of samples in a file of predictions, where they have one.

    Labels, groups and paths are as they are now: they may have changed since an image was inspected.
    """
    from lriad.evaluation import read_predictions
    from lriad.evaluation.predictions import joined

    by_id = {sample.id: sample for sample in samples}
    return [joined(row, by_id[row["id"]]) for row in read_predictions(file) if row["id"] in by_id]


def _has_map(row: Mapping[str, Any], maps: Path) -> bool:
    from lriad.explain import map_file

    return map_file(row["image_sha256"], maps).exists()


def _check_product(samples: Sequence[Sample], memory: str | Path | Memory | None) -> None:
    """Raise LriadError where a memory's product is none of the data set's: every image would be an error."""
    if memory is None:
        return
    from lriad.memory import load_memory

    known = load_memory(memory) if isinstance(memory, str | Path) else memory
    names = sorted({sample.object_name for sample in samples})
    if names and known.object_name.casefold() not in {name.casefold() for name in names}:
        raise LriadError(
            f"the memory is of {known.object_name!r}, the data set of {', '.join(map(repr, names[:3]))}: "
            f"call the category's folder {known.object_name.replace(' ', '_')}"
        )


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


def save_report(
    evaluation: Evaluation, rows: Sequence[Mapping[str, Any]], folder: str | Path, maps: str | Path | None = None
) -> None:
    """Write `metrics.json`, `table.md`, `table.csv` and `report.html` into a folder, which is made if missing.

    Args:
        evaluation: Of the rows.
        rows: The predictions.
        folder: The run folder.
        maps: The folder of the heat-maps, where there are any.
    """
    from lriad.evaluation.report import write_report

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False)
    (folder / "metrics.json").write_text(report + "\n", encoding="utf-8")
    (folder / "table.md").write_text(evaluation.to_markdown() + "\n", encoding="utf-8")
    (folder / "table.csv").write_text(evaluation.to_csv(), encoding="utf-8")
    write_report(evaluation, rows, folder, maps=maps)
