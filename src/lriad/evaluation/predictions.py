"""Predictions of our inspector or of any other system: read, checked line by line, joined with the truth.

A file is JSONL (one object a line) or CSV (one header line). Fields, all others being kept as they are:

| field | meaning |
|---|---|
| `id`, or else `image` | which image; with a data set, its sample's id or image path |
| `truth` | `defect`, `normal` or `unknown` (also: empty); not needed with a data set |
| `category`, `dataset`, `group` | as in `Sample`; not needed with a data set |
| `label` | `defect`, `normal`, `A` (defect) or `B` (normal), in any case; all else is unparsable |
| `p_defect` | probability of a defect, in [0, 1] |
| `p_missing` | why there is no `p_defect`, in one line |
| `score` | in place of `p_defect`, any finite number that grows with the suspicion: only its order is used |
| `decision`, `threshold` | `defect`, `normal` or `review`, and the threshold on p_defect behind it |
| `calibration`, `normal_below` | which calibration decided, and the p_defect or score below which a part is normal |
| `setting`, `memory` | what the system was given besides, one setting a file; which memory of good parts decided |
| `text`, `follows_format` | the completion, and whether it follows the format |
| `reasoning` | what stands in its think block, where there is no `text` |
| `object_name`, `defect_type` | as in `Sample`; not needed with a data set |
| `mask` | as in `Sample`; from the data set only: no file is opened because a file of predictions names it |
| `error` | one line, where the image could not be inspected; such a row needs no label and no score |
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lriad.errors import LriadError

if TYPE_CHECKING:
    from lriad.data.sample import Sample

_LABELS = {"a": "defect", "defect": "defect", "b": "normal", "normal": "normal"}
_FIRST_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_SAMPLE_FIELDS = ("category", "object_name", "dataset", "split", "defect_type", "group", "mask")

NO_PREDICTION = "no prediction for this image"

_CUT_OFF = "%s: the last row is cut off and is left out; resume the inspection that wrote it"

logger = logging.getLogger(__name__)


def read_predictions(
    path: str | Path, samples: Sequence[Sample] | None = None, *, allow_missing: bool = False
) -> list[dict[str, Any]]:
    """The predictions of a file as checked rows, ready for `evaluate_predictions`.

    Args:
        path: A `.jsonl` or `.csv` file; the module's docstring lists the fields.
        samples: The data set. Its truth, category, dataset, kinds of defect and masks are joined by id (or by
            image path); a row may then leave them out.
        allow_missing: Whether samples without a prediction become rows with an `error`, so that they are
            counted and listed; otherwise they are refused, for a score of the images that a system chose is
            no score.

    Raises:
        LriadError: The file cannot be read, a line of it is wrong, an id occurs twice or is not in the data
            set, a truth contradicts the data set's, or samples have no prediction.
    """
    path = Path(path)
    rows: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    index = _SampleIndex(samples) if samples is not None else None
    for where, raw in _read_rows(path):
        row = check_row({**raw, "mask": None} if index is None else index.join(raw, where), where)
        if row["id"] in seen:
            raise LriadError(f"{where}: id {row['id']!r} is also at {seen[row['id']]}; keep one line an image")
        seen[row["id"]] = where
        rows.append(row)
    if not rows:
        raise LriadError(f"{path}: no predictions in it; expected one line an image")
    if samples is not None:
        missing = [sample for sample in samples if sample.id not in seen]
        if missing and not allow_missing:
            raise LriadError(
                f"{path}: {len(missing)} of {len(samples)} images of the data set have no prediction, first "
                f"{missing[0].id!r}; predict them too, or allow missing ones to have them counted and listed"
            )
        rows += [joined({"error": NO_PREDICTION}, sample) for sample in missing]
    return rows


def check_row(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of one prediction with checked and normalised fields.

    `label` becomes `defect`, `normal`, `unparsable` or None; `answer` is added to an unparsable one: the
    words that stood in its place. Numbers become floats, an empty truth `unknown`, `follows_format` a bool or
    None.

    Args:
        row: Fields as in the module's docstring.
        where: Names the row in error messages, such as `predictions.csv:12`.

    Raises:
        LriadError: A field is missing or has an impossible value.
    """
    checked = dict(row)
    checked["id"] = _name_of(row, where)
    checked["category"] = str(row.get("category") or "all")
    checked["dataset"] = str(row.get("dataset") or "")
    checked["truth"] = _one_of(row, "truth", ("defect", "normal", "unknown"), where) or "unknown"
    if row.get("error"):
        checked["error"] = " ".join(str(row["error"]).split())
        return checked
    checked["p_defect"] = _number(row, "p_defect", where)
    checked["score"] = _number(row, "score", where)
    for name in ("threshold", "limit", "normal_below", "deviation", "alarm_rate"):
        checked[name] = _number(row, name, where)
    checked["decision"] = _one_of(row, "decision", ("defect", "normal", "review"), where)
    checked["follows_format"] = _flag(row, "follows_format", where)
    if checked["p_defect"] is not None and not 0 <= checked["p_defect"] <= 1:
        raise LriadError(
            f"{where}: p_defect {checked['p_defect']:g} is not in [0, 1]; name the column 'score' if it is "
            "no probability"
        )
    label = row.get("label")
    if label is None or label == "":
        checked["label"] = None
        if checked["p_defect"] is None and checked["score"] is None:
            raise LriadError(f"{where}: no label, p_defect, score or error; give at least one of them")
    else:
        checked["label"] = _LABELS.get(str(label).strip().lower(), "unparsable")
        if checked["label"] == "unparsable":
            checked["answer"] = str(row.get("answer") or _wording(str(label), str(row.get("text") or "")))
    return checked


def ranked_by(rows: Sequence[Mapping[str, Any]]) -> Literal["p_defect", "score"]:
    """What images are ordered by: `score` with a memory, or where no row has `p_defect`, else that.

    Args:
        rows: Predictions without an error.

    Raises:
        LriadError: Some rows have p_defect and others only a score.
    """
    has_p = [row.get("p_defect") is not None for row in rows]
    if not any(has_p) or any(row.get("memory") for row in rows):
        return "score"
    if any(row.get("score") is not None for row, has in zip(rows, has_p, strict=True) if not has):
        raise LriadError("some predictions have p_defect and others only a score: two scales have no common order")
    return "p_defect"


def map_of(row: Mapping[str, Any], maps: str | Path) -> Path | None:
    """The file of a prediction's heat-map in the folder that `Inspector(maps=...)` wrote; None where it has none."""
    from lriad.explain import map_file

    try:
        file = map_file(str(row.get("image_sha256") or ""), maps)
    except LriadError:  # Another system's row need not say which image it is of.
        return None
    return file if file.is_file() else None


def _wording(label: str, text: str) -> str:
    """What stood in the place of an unparsable answer; '' where a completion reached no answer at all."""
    if label != "unparsable":
        return label.strip()
    match = _FIRST_ANSWER.search(text)
    return match.group(1).strip() if match else ""


class _SampleIndex:
    """Finds the sample of a prediction, by id or by image path."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.position = {sample.id: i for i, sample in enumerate(samples)}
        self.position_of_image = {os.path.abspath(sample.image): i for i, sample in enumerate(samples)}

    def join(self, raw: Mapping[str, Any], where: str) -> dict[str, Any]:
        name = _name_of(raw, where)
        position = self.position.get(name)
        if position is None and raw.get("id") in (None, ""):
            position = self.position_of_image.get(os.path.abspath(name))
        if position is None:
            raise LriadError(f"{where}: {name!r} is not in the data set; evaluate with the data it was predicted on")
        sample = self.samples[position]
        truth = _one_of(raw, "truth", ("defect", "normal", "unknown"), where)
        if truth not in (None, "unknown", sample.label):
            raise LriadError(
                f"{where}: truth {truth!r} contradicts the data set, which has {sample.label!r} for "
                f"{sample.id!r}; correct one of them"
            )
        return joined(raw, sample)


def joined(raw: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
    """A row with all that the data set says of its image, whatever the row says of that."""
    fields = {name: getattr(sample, name) for name in _SAMPLE_FIELDS}
    return {**raw, **fields, "id": sample.id, "image": sample.image, "truth": sample.label}


def _read_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with where it stands, `FILE:LINE`."""
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise LriadError(f"{path}: expected a .jsonl or a .csv file of predictions")
    try:
        yield from readers[path.suffix.lower()](path)
    except OSError as error:
        raise LriadError(f"{path}: cannot be read ({error.strerror}); give an existing predictions file") from error


def _read_jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                # A killed writer leaves a line without its end, maybe cut inside a character.
                if not line.endswith(b"\n"):
                    logger.warning(_CUT_OFF, where)
                    return
                raise LriadError(f"{where}: not a line of JSON in UTF-8; correct or remove it") from error
            if not isinstance(row, dict):
                raise LriadError(f'{where}: expected a JSON object such as {{"id": …, "label": …}}')
            yield where, row


def _read_csv(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # File names that are not UTF-8 come back as the operating system gives them.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        rows, first = iter(reader), 2
        while True:
            try:
                row = next(rows, None)
                if row is None:
                    return
                if None in row or None in row.values():
                    raise csv.Error("not as many cells as in the header")
            except csv.Error as error:
                if next(file, None) is None and not _ends_a_line(path):
                    logger.warning(_CUT_OFF, f"{path}:{first}")
                    return
                raise LriadError(f"{path}:{first}: not valid CSV ({error}); correct it") from error
            yield f"{path}:{reader.line_num}", row
            first = reader.line_num + 1


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() in (b"\n", b"\r")


def _name_of(row: Mapping[str, Any], where: str) -> str:
    name = row.get("image") if row.get("id") in (None, "") else row["id"]
    if not isinstance(name, str | int) or name == "":
        raise LriadError(f"{where}: no id and no image; say which image the prediction is of")
    return str(name)


def _one_of(row: Mapping[str, Any], field: str, allowed: tuple[str, ...], where: str) -> str | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    if value not in allowed:
        raise LriadError(f"{where}: {field} {value!r}; expected {', '.join(allowed[:-1])} or {allowed[-1]}")
    return str(value)


def _number(row: Mapping[str, Any], field: str, where: str) -> float | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise LriadError(f"{where}: {field} {value!r} is not a finite number; give one, or leave it empty")
    return number


def _flag(row: Mapping[str, Any], field: str, where: str) -> bool | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    flag = {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
    if flag is None:
        raise LriadError(f"{where}: {field} {value!r}; expected true or false")
    return flag
