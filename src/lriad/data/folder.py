"""Folders of photographs: `<category>/{good,defect/<type>}`, or `{good,defect}` for a single category."""

from __future__ import annotations

import os
from typing import NamedTuple

from lriad.data._files import (
    FOLDER_LABELS,
    find_categories,
    name_of,
    object_name_for,
    refuse_strays,
    root_of,
    scan,
    show,
    walk_images,
)
from lriad.data.manifest import parse_split, read_csv
from lriad.data.sample import Sample, Split
from lriad.data.table import SampleTable
from lriad.errors import LriadError

_MASKS = ("mask", "masks")


class _Listed(NamedTuple):
    """What `files.csv` says of one image."""

    line: int
    group: str | None
    split: Split | None


def load_folder(path: str | os.PathLike[str]) -> SampleTable:
    """The images below a folder, labelled by the folders they lie in.

    A category holds `good/` and `defect/`, at least one of them, and may hold `unknown/` (see `FOLDER_LABELS`
    for other names). The first folder below `defect/` names the type of the defect. `mask/<type>/NNN.png` is
    the mask of `defect/<type>/NNN.*`. A `files.csv` in the category with a column `file` may give a `group`,
    and a `split` (train or test); where it has no column `split` and every group is train or test, the groups
    are the official sides.

    Args:
        path: The folder of the categories, or of one category.

    Raises:
        LriadError: The folder is missing, unreadable, has another layout or no image, or
            `files.csv` is wrong.
    """
    root = root_of(path)
    table = SampleTable(root)
    dataset = name_of(root)
    for category, relative in find_categories(root, "folder"):
        folder = os.path.join(root, relative)
        subfolders, _ = scan(folder)
        labelled = [name for name in subfolders if name.lower() in FOLDER_LABELS]
        refuse_strays(folder, "", (*labelled, *_MASKS), "put them below good/ or defect/<type>/")
        images = [image for name in labelled for image in walk_images(folder, name)]
        if not images:
            raise LriadError(f"{show(folder)}: holds no image; put photographs below good/ or defect/<type>/")
        listed = _read_files_csv(folder)
        if listed and listed.keys().isdisjoint(images):
            raise LriadError(
                f"{show(os.path.join(folder, 'files.csv'))}: names none of the images; its column 'file' "
                "holds paths such as good/001.png"
            )
        masks = _masks_by_stem(folder, subfolders)
        for image in images:
            top, below = image.split("/", 1)
            label = FOLDER_LABELS[top.lower()]
            is_defect = label == "defect"
            path_below_root = _join(relative, image)
            entry = listed.get(image)
            mask = masks.get(os.path.splitext(below)[0]) if is_defect else None
            table.append(
                Sample(
                    id=path_below_root,
                    image=path_below_root,
                    label=label,
                    category=category,
                    object_name=object_name_for(category),
                    split=entry.split if entry else None,
                    defect_type=below.split("/")[0] if is_defect and "/" in below else None,
                    group=entry.group if entry else None,
                    mask=_join(relative, mask) if mask else None,
                    dataset=dataset,
                )
            )
    return table


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path


def _masks_by_stem(folder: str, subfolders: list[str]) -> dict[str, str]:
    """Mask of each image by its path below `defect/` without the ending."""
    masks: dict[str, str] = {}
    for name in subfolders:
        if name in _MASKS:
            masks |= {os.path.splitext(mask.removeprefix(f"{name}/"))[0]: mask for mask in walk_images(folder, name)}
    return masks


def _read_files_csv(folder: str) -> dict[str, _Listed]:
    """What `files.csv` says of each image, by the image's path in the category; {} without the file."""
    path = os.path.join(folder, "files.csv")
    if not os.path.exists(path):
        return {}
    listed: dict[str, _Listed] = {}
    for line, row in read_csv(path):
        where = f"{show(path)}:{line}"
        if "file" not in row:
            raise LriadError(f"{where}: has no column 'file'; it holds an image's path in the category's folder")
        file = row["file"].strip().replace("\\", "/").removeprefix("./")
        entry = _Listed(line, row.get("group", "").strip() or None, parse_split(row.get("split"), where))
        first = listed.setdefault(file, entry)
        if (first.group, first.split) != (entry.group, entry.split):
            raise LriadError(f"{where}: {file!r} is also on line {first.line} with another group or split; keep one")
    groups = {entry.group for entry in listed.values()} - {None}
    if groups and groups <= {"train", "test"} and not any(entry.split for entry in listed.values()):
        # Two groups could not be split any further: these are the official sides.
        return {
            file: entry._replace(group=None, split=parse_split(entry.group, path)) for file, entry in listed.items()
        }
    return listed
