"""Lists of images: JSON Lines and CSV.

A line or row needs `image` and `label`; `id`, `category`, `object_name`, `split`, `defect_type`, `group`,
`mask` and `dataset` may be added (the fields of `Sample`), and other fields are left alone.

Paths are relative to the manifest's folder and may not climb out of it with `..`. An absolute path is taken
as it is: it is the user's own list of the user's own files. Files are not opened here, so a missing one shows
when it is inspected.
"""

from __future__ import annotations

import csv
import json
import os
import posixpath
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

from lriad.data._files import nearest, object_name_for, open_text, root_of, show
from lriad.data.sample import Label, Sample, Split
from lriad.data.strings import Strings
from lriad.data.table import SampleTable
from lriad.errors import LriadError

LABELS: dict[str, Label] = {
    "defect": "defect",
    "defective": "defect",
    "anomaly": "defect",
    "anomalous": "defect",
    "bad": "defect",
    "ng": "defect",
    "nok": "defect",
    "ko": "defect",
    "1": "defect",
    "true": "defect",
    "normal": "normal",
    "good": "normal",
    "ok": "normal",
    "0": "normal",
    "false": "normal",
    "unknown": "unknown",
    "": "unknown",
}
"""What a label may be written as, in lower case. `A` and `B` may not: grade A is good, answer A a defect."""

_SIDES: dict[str, Split | None] = {"train": "train", "test": "test", "": None}
_REQUIRED = ("image", "label")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_EXAMPLE = '{"image": "001.png", "label": "defect"}'

_Row = tuple[int, dict[str, Any]]


def load_jsonl(path: str | os.PathLike[str]) -> SampleTable:
    """The samples of a JSON Lines file, one object a line, in the file's order.

    Raises:
        LriadError: The file cannot be read, a line is broken, or two lines contradict each other; the message
            names the file and the line.
    """
    return _load(root_of(path), read_jsonl(root_of(path)))


def load_csv(path: str | os.PathLike[str]) -> SampleTable:
    """The samples of a CSV file with a header, in the file's order; see `load_jsonl`."""
    return _load(root_of(path), read_csv(root_of(path)))


def read_jsonl(path: str) -> Iterator[_Row]:
    """Pairs of a line's number and its object; blank lines are skipped.

    Raises:
        LriadError: The file cannot be read, or a line is not one JSON object.
    """
    with open_text(path) as file:
        for number, line in enumerate(_guarded(path, file), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                what = str(error)
                if isinstance(error, json.JSONDecodeError):
                    what = f"{error.msg} at column {error.colno}"
                raise LriadError(f"{show(path)}:{number}: not valid JSON ({what}); mend or delete the line") from error
            if not isinstance(row, dict):
                raise LriadError(f"{show(path)}:{number}: expected a JSON object such as {_EXAMPLE}")
            yield number, row


def read_csv(path: str) -> Iterator[_Row]:
    """Pairs of a row's line number and its cells by column name, in lower case; missing cells are ''.

    The separator is a comma, a semicolon or a tab, whichever the header has most of.

    Raises:
        LriadError: The file cannot be read, has no header, or a row does not fit it.
    """
    with open_text(path) as file:
        lines = _guarded(path, file)
        header = next(lines, "")
        if not header.strip():
            raise LriadError(f"{show(path)}: empty; the first line must name the columns, such as image,label")
        delimiter = max(",;\t", key=header.count)
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter))]
        twice = [name for name in names if name and names.count(name) > 1]
        if twice:
            raise LriadError(f"{show(path)}:1: the column {twice[0]!r} is there twice; remove one")
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise LriadError(f"{show(path)}:{rows.line_num + 1}: not valid CSV ({error}); mend the row") from error
            number = rows.line_num + 1
            if len(cells) > len(names):
                raise LriadError(
                    f"{show(path)}:{number}: {len(cells)} cells under {len(names)} columns; put quotes "
                    f"around a cell that holds {delimiter!r}"
                )
            if any(cell.strip() for cell in cells):
                yield number, dict(zip(names, cells + [""] * (len(names) - len(cells)), strict=True))


def _guarded(path: str, lines: Iterable[str]) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise LriadError(f"{show(path)}: not UTF-8 text; save it as 'CSV UTF-8' or JSON Lines in UTF-8") from error
    except OSError as error:
        raise LriadError(f"{show(path)}: {error.strerror or error}; it cannot be read") from error


def _load(path: str, rows: Iterable[_Row]) -> SampleTable:
    root = os.path.dirname(path)
    dataset = os.path.splitext(os.path.basename(path))[0]
    table = SampleTable(root)
    lines = array("L")
    own_images, own_indices = Strings(), array("L")  # of lines with an id of their own: else the id is the image
    for line, row in rows:
        where = f"{show(path)}:{line}"
        sample = _parse(row, where, dataset)
        earlier = table.ids().position_of(sample.id)
        if earlier is not None:
            _check_agreement(table[earlier], lines[earlier], sample, root, where, same_id=True)
            continue  # an exact repeat says nothing new
        own = own_images.position_of(sample.image)
        twin = table.ids().position_of(sample.image) if own is None else own_indices[own]
        if twin is not None:
            _check_agreement(table[twin], lines[twin], sample, root, where, same_id=False)
        if sample.id != sample.image and own is None:
            own_images.append(sample.image)
            own_indices.append(len(table))
        try:
            table.append(sample)
        except LriadError as error:
            raise LriadError(f"{where}: {error}") from error
        lines.append(line)
    if not len(table):
        raise LriadError(f"{show(path)}: lists no image; a line needs image and label, such as {_EXAMPLE}")
    return table


def _check_agreement(first: Sample, first_line: int, second: Sample, root: str, where: str, *, same_id: bool) -> None:
    """Refuses two lines on one image, or with one id, that contradict each other.

    One image may be listed as several categories (a board and a connector on it), each with an id of its own.
    """
    second = replace(
        second,
        image=os.path.join(root, second.image),
        mask=second.mask and os.path.join(root, second.mask),
    )
    if not same_id and (first.image != second.image or first.category != second.category):
        return
    names = [field.name for field in fields(Sample)] if same_id else ["label", "split", "group"]
    for name in names:
        there, here = getattr(first, name), getattr(second, name)
        if there != here:
            subject = f"id {second.id!r}" if name == "image" else f"image {show(second.image)!r}"
            own_id = ", or give each an id of its own" if same_id and name != "label" else ""
            raise LriadError(
                f"{where}: {subject} is also on line {first_line} with another {name} "
                f"({there!r} there, {here!r} here); keep one of the two lines{own_id}"
            )


def _parse(row: dict[str, Any], where: str, dataset: str) -> Sample:
    """The sample of one line, its paths relative to the manifest's folder."""
    for name in _REQUIRED:
        if name not in row:
            raise LriadError(f"{where}: has no {name!r}; {nearest(name, row)}a line needs image and label")
    image = _path(row, "image", where)
    if image is None:
        raise LriadError(f"{where}: 'image' is empty; write the path of the image file")
    object_name = _text(row, "object_name", where)
    category = _text(row, "category", where) or (object_name or "part").replace(" ", "_")
    return Sample(
        id=_text(row, "id", where) or image,
        image=image,
        label=parse_label(row["label"], where),
        category=category,
        object_name=object_name or object_name_for(category),
        split=parse_split(_text(row, "split", where), where),
        defect_type=_text(row, "defect_type", where),
        group=_text(row, "group", where),
        mask=_path(row, "mask", where),
        dataset=_text(row, "dataset", where) or dataset,
    )


def parse_label(value: object, where: str) -> Label:
    """The label that a manifest's value means.

    Args:
        value: Text, number, truth value or None.
        where: File and line, for the message.

    Raises:
        LriadError: It means nothing known.
    """
    text = "" if value is None else str(value).strip().lower()
    if text not in LABELS:
        raise LriadError(
            f"{where}: label {str(value)[:40]!r} is not understood; write defect (also bad, ng, 1, true), "
            "normal (also good, ok, 0, false) or unknown"
        )
    return LABELS[text]


def parse_split(text: str | None, where: str) -> Split | None:
    """The official side that a manifest names, None where it names none.

    Raises:
        LriadError: It is neither train nor test.
    """
    side = (text or "").strip().lower()
    if side not in _SIDES:
        raise LriadError(f"{where}: split {side[:40]!r} is not known; write train or test, or leave it empty")
    return _SIDES[side]


def _text(row: dict[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise LriadError(f"{where}: {name!r} is {str(value)[:40]!r}; expected text")
    text = str(value).strip()
    if _UNPRINTABLE.search(text):
        raise LriadError(f"{where}: {name!r} holds a control character or half a character: {text[:40]!r}; remove it")
    return text or None


def _path(row: dict[str, Any], name: str, where: str) -> str | None:
    text = _text(row, name, where)
    if text is None or os.path.isabs(text):
        return text
    if ".." in re.split(r"[\\/]", text):
        raise LriadError(
            f"{where}: {name} {text[:80]!r} climbs out of the manifest's folder; move the manifest up, or "
            "write the absolute path"
        )
    return posixpath.normpath(text)
