"""Labelled pictures as a data set that `folder:PATH` reads: what people have said becomes what is learned from next."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from lriad.data._files import FOLDER_LABELS, show
from lriad.errors import LriadError
from lriad.serving.store import Inspection, Store

_RESERVED = frozenset({*FOLDER_LABELS, "train", "test", "data", "mask", "masks", "__macosx"})
"""Folder names that mean something to the loaders, in lower case."""
_MAX_NAME = 60
_CHUNK = 1 << 20
_ABOUT = "Labelled parts from an lriad station. As a data set: folder:PATH, where PATH is the folder of this file.\n"


@dataclass(frozen=True, slots=True)
class _File:
    """One file of an export: copied from the store, or with this text."""

    place: str
    source: Path | None = None
    text: str = ""


def export_zip(store: Store, object_name: str | None = None) -> Iterator[bytes]:
    """The labelled pictures as a zip archive, piece by piece: however many they are, nothing is held or written.

    Args:
        store: Where from.
        object_name: Only this product's.

    Raises:
        LriadError: There are none; here and now, not when the first piece is asked for.
    """
    return _zipped(_layout(_labelled(store, object_name), store))


def export_labels(store: Store, folder: str | Path, object_name: str | None = None) -> int:
    """Write the labelled pictures into a new folder, all or nothing.

    Args:
        store: Where from.
        folder: Must not exist, or be empty.
        object_name: Only this product's.

    Returns:
        How many pictures there are.

    Raises:
        LriadError: There are none, the folder holds something, or it cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    labelled = _labelled(store, object_name)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise LriadError(f"{show(folder)}: exists already; name a new folder, for labels may have changed since")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".lriad-labels-", dir=folder.parent) as beside:
            part = Path(beside) / "set"  # with the rights of any new folder: a temporary one has the owner's only
            pictures = _write(_layout(labelled, store), part)
            if folder.exists():
                for entry in part.iterdir():  # it may be where the user's shell is: it stays the same folder
                    entry.rename(folder / entry.name)
            else:
                part.rename(folder)
    except OSError as error:
        raise LriadError(f"{show(folder)}: cannot be written ({error.strerror}); name another folder") from error
    return pictures


def _write(files: Iterator[_File], folder: Path) -> int:
    """Write files into a folder; how many pictures they are."""
    pictures = 0
    for file in files:
        place = folder / file.place
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.source is None:
            place.write_text(file.text, encoding="utf-8")
        else:
            shutil.copyfile(file.source, place)
            pictures += 1
    return pictures


def _labelled(store: Store, object_name: str | None) -> list[Inspection]:
    labelled = store.labelled(object_name)
    if not labelled:
        of = f" of {object_name!r}" if object_name else ""
        raise LriadError(f"no picture{of} has a label yet: say of some what they are, then export")
    return labelled


def _layout(labelled: Sequence[Inspection], store: Store) -> Iterator[_File]:
    """The files of the layout `<category>/{good,defect/<type>}/<hash>`, and `files.csv` where groups are known."""
    yield _File("README.txt", text=_ABOUT)
    categories = folder_names(sorted({row.object_name for row in labelled}))
    types = folder_names(sorted({row.defect_type for row in labelled if row.defect_type}))
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in labelled:
        source = store.picture(row.image_sha256, row.extension)
        if not source.exists():
            continue
        category = categories[row.object_name]
        kind = "good" if row.truth == "normal" else "defect"
        if row.truth == "defect" and row.defect_type:
            kind = f"defect/{types[row.defect_type]}"
        file = f"{kind}/{row.image_sha256[:16]}.{row.extension}"
        if row.group:
            groups.setdefault(category, []).append((file, row.group))
        yield _File(f"{category}/{file}", source)
    for category, entries in groups.items():
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        # Groups that are all called train or test would be taken for the sides of a split.
        writer.writerows([("file", "group"), *((file, f"part {group}") for file, group in entries)])
        yield _File(f"{category}/files.csv", text=lines.getvalue())


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """For each name a folder's that any system can have, that means nothing to the loaders, and that no other one has.

    `object_name_of` makes the words of it again, but for signs that folders cannot have.
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = unicodedata.normalize("NFC", name)
        folder = "_".join("".join(char if char.isalnum() else " " for char in plain).split())[:_MAX_NAME] or "part"
        if folder.lower() in _RESERVED or folder.isdigit():
            folder = f"part_{folder}"
        choice, number = folder, 1
        while choice.casefold() in taken:
            number += 1
            choice = f"{folder}_{number}"
        taken.add(choice.casefold())
        given[name] = choice
    return given


class _Pieces(io.RawIOBase):
    """Takes what a writer writes, to be taken away piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(cast(bytes, data))
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _zipped(files: Iterator[_File]) -> Iterator[bytes]:
    """A zip archive of files, uncompressed, for pictures are compressed already."""
    pieces = _Pieces()
    with zipfile.ZipFile(cast(BinaryIO, pieces), "w", allowZip64=True) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.place)  # of a fixed date: equal labels make equal archives
            entry.external_attr = 0o644 << 16
            if file.source is None:
                archive.writestr(entry, file.text)
            else:
                entry.file_size = file.source.stat().st_size
                with file.source.open("rb") as source, closing(archive.open(entry, "w")) as target:
                    while chunk := source.read(_CHUNK):
                        target.write(chunk)
                        yield pieces.take()
            yield pieces.take()
    yield pieces.take()
