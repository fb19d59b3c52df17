"""What the loaders share: listing folders, finding categories, and plain words for the system's errors."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from lriad.data.sample import Label, object_name_of
from lriad.errors import LriadError

FOLDER_LABELS: dict[str, Label] = {
    "good": "normal",
    "ok": "normal",
    "normal": "normal",
    "defect": "defect",
    "defective": "defect",
    "anomaly": "defect",
    "bad": "defect",
    "ng": "defect",
    "unknown": "unknown",
}
"""Names of the folders that say what a photograph in them is, in lower case."""

_MARKS: dict[str, Collection[str]] = {
    "mvtec": ("train", "test"),
    "visa": ("Data",),
    "folder": tuple(FOLDER_LABELS),
}
_PICTURES = {
    "mvtec": "<category>/train/good and <category>/test/<good or defect>",
    "visa": "<category>/Data/Images/<Normal or Anomaly>",
    "folder": "<category>/good and <category>/defect/<type>",
}


def show(path: str | os.PathLike[str]) -> str:
    """A path as it may stand in a one-line message."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


def reason(error: OSError | ValueError) -> str:
    """Why the system refused a file or folder, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder; check the path"
    if isinstance(error, PermissionError):
        return "no permission to read it; change its access rights"
    if isinstance(error, NotADirectoryError):
        return "a file, not a folder; name the folder, or use jsonl: or csv: for a list of images"
    if isinstance(error, IsADirectoryError):
        return "a folder, not a file; name the file"
    return f"{getattr(error, 'strerror', None) or error}; it cannot be read"


def nearest(name: str, choices: Iterable[str]) -> str:
    """`did you mean 'x'? ` for the choice most like `name`, '' where none is."""
    match = difflib.get_close_matches(name, list(choices), n=1)
    return f"did you mean {match[0]!r}? " if match else ""


def open_text(path: str | os.PathLike[str]) -> TextIO:
    """Opens a UTF-8 text file, with or without a byte order mark, line ends kept."""
    try:
        return open(path, encoding="utf-8-sig", newline="")
    except (OSError, ValueError) as error:
        raise LriadError(f"{show(path)}: {reason(error)}") from error


def scan(folder: str) -> tuple[list[str], list[str]]:
    """Names of the subfolders and of the files in a folder, each sorted; hidden ones are left out.

    Raises:
        LriadError: The folder is missing or unreadable, or a name in it is not valid UTF-8.
    """
    subfolders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith((".", "__MACOSX")):
                    (subfolders if entry.is_dir() else files).append(entry.name)
    except (OSError, ValueError) as error:
        raise LriadError(f"{show(folder)}: {reason(error)}") from error
    for name in (*subfolders, *files):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise LriadError(f"{show(folder)}: the name {name!a} is not valid UTF-8; rename it") from error
    return sorted(subfolders), sorted(files)


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    from lriad.data.image import image_suffixes

    return os.path.splitext(name)[1].lower() in image_suffixes()


def walk_images(root: str, relative: str) -> Iterator[str]:
    """The images at any depth below `root/relative`, as paths relative to `root` with forward slashes.

    The files of a folder come before its subfolders, both sorted.
    """
    subfolders, files = scan(os.path.join(root, relative))
    yield from (f"{relative}/{name}" for name in files if is_image(name))
    for name in subfolders:
        yield from walk_images(root, f"{relative}/{name}")


def root_of(path: str | os.PathLike[str]) -> str:
    """A folder as the user named it, `~` expanded."""
    return str(Path(path).expanduser())


def name_of(root: str) -> str:
    """The folder's own name, also for `.` and `..`."""
    return os.path.basename(os.path.abspath(root))


def object_name_for(category: str) -> str:
    """The category in words; `part` where it is only a number, which would tell a model nothing."""
    name = object_name_of(category)
    return "part" if name.isdigit() else name


def find_categories(root: str, layout: str) -> list[tuple[str, str]]:
    """The categories of a data set.

    Args:
        root: The data set's folder, or the folder of one category.
        layout: `mvtec`, `visa` or `folder`.

    Returns:
        Pairs of a category's name and its folder relative to `root` ('' where `root` is itself the category).

    Raises:
        LriadError: There is none, or a folder holds images but is no category of this layout.
    """
    names, _ = scan(root)
    if _looks_like(names, layout):
        return [(name_of(root), "")]
    other = next((kind for kind in _MARKS if kind != layout and _looks_like(names, kind)), None)
    contents = {name: scan(os.path.join(root, name))[0] for name in names}
    found = [name for name in names if _looks_like(contents[name], layout)]
    if other is None and not found:
        kinds = [kind for kind in _MARKS if any(_looks_like(below, kind) for below in contents.values())]
        other = kinds[0] if kinds else None
    if other is not None:
        raise LriadError(f"{show(root)}: looks like the {other} layout ({_PICTURES[other]}); use {other}:{show(root)}")
    if not found:
        raise LriadError(f"{show(root)}: holds no {_PICTURES[layout]}; see docs/datasets.md for the layouts")
    refuse_strays(root, "", found, f"expected {_PICTURES[layout]}")
    return [(name, name) for name in found]


def _looks_like(names: Iterable[str], layout: str) -> bool:
    if layout == "folder":
        return any(name.lower() in FOLDER_LABELS for name in names)
    return any(name in _MARKS[layout] for name in names)


def refuse_strays(root: str, relative: str, known: Collection[str], expected: str) -> None:
    """Refuses images where the layout has no place for them: nobody would notice that they are left out.

    Args:
        root: The data set's folder.
        relative: The folder to look at, relative to `root`.
        known: Names of its subfolders that have a place in the layout.
        expected: What to do, for the message.
    """
    folder = os.path.join(root, relative)
    subfolders, files = scan(folder)
    strays = [name for name in files if is_image(name)][:1]
    strays += [name for name in subfolders if name not in known and any(walk_images(folder, name))]
    if strays:
        stray = show(os.path.join(folder, strays[0]))
        raise LriadError(f"{stray}: images lie outside the layout; {expected}, or move them away")
