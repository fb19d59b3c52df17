"""VisA as its authors publish it.

    <category>/Data/Images/{Normal,Anomaly}/000.JPG
    <category>/Data/Masks/Anomaly/000.png                       (may be missing)
    <category>/image_anno.csv                                   (may be missing: it names the defects)
    split_csv/1cls.csv                                          (may be missing: it gives the official sides)

Zou et al., ECCV 2022, https://github.com/amazon-science/spot-diff
"""

from __future__ import annotations

import os

from lriad.data._files import (
    find_categories,
    is_image,
    name_of,
    object_name_for,
    refuse_strays,
    root_of,
    scan,
    show,
    walk_images,
)
from lriad.data.manifest import parse_label, parse_split, read_csv
from lriad.data.sample import Label, Sample, Split
from lriad.data.table import SampleTable
from lriad.errors import LriadError

VISA_COUNTS = {
    "candle": (1000, 100),
    "capsules": (602, 100),
    "cashew": (500, 100),
    "chewinggum": (503, 100),
    "fryum": (500, 100),
    "macaroni1": (1000, 100),
    "macaroni2": (1000, 100),
    "pcb1": (1004, 100),
    "pcb2": (1001, 100),
    "pcb3": (1006, 100),
    "pcb4": (1005, 100),
    "pipe_fryum": (500, 100),
}
"""Official numbers of VisA's images: normal, anomaly."""

_IMAGES = "Data/Images"
_LABELS: dict[str, Label] = {"Anomaly": "defect", "Normal": "normal"}


def load_visa(path: str | os.PathLike[str]) -> SampleTable:
    """The images of VisA, with the one-class protocol's sides where `split_csv/1cls.csv` is there.

    The data set is called `visa` where all its categories are VisA's, else after its folder. `defect_type` is
    the annotation of `image_anno.csv`, which may name several defects.

    Args:
        path: VisA's folder, or that of one category (then no image has an official side).

    Raises:
        LriadError: The folder is missing, unreadable, has another layout, a category has no image, or a CSV
            file is broken or contradicts the folders.
    """
    root = root_of(path)
    table = SampleTable(root)
    categories = find_categories(root, "visa")
    names = {category for category, _ in categories}
    dataset = "visa" if names <= VISA_COUNTS.keys() else name_of(root)
    splits = _read_splits(os.path.join(root, "split_csv", "1cls.csv"))
    for category, relative in categories:
        prefix = f"{relative}/" if relative else ""
        folder = os.path.join(root, relative)
        refuse_strays(folder, _IMAGES, tuple(_LABELS), f"put them below {_IMAGES}/Normal or {_IMAGES}/Anomaly")
        masks = _masks_by_stem(folder)
        types = _read_types(folder)
        size = len(table)
        for side, label in _LABELS.items():
            if not os.path.isdir(os.path.join(folder, _IMAGES, side)):
                continue
            for image in walk_images(folder, f"{_IMAGES}/{side}"):
                mask = masks.get(os.path.splitext(os.path.basename(image))[0]) if label == "defect" else None
                table.append(
                    Sample(
                        id=prefix + image,
                        image=prefix + image,
                        label=label,
                        category=category,
                        object_name=object_name_for(category),
                        split=splits.get(prefix + image),
                        defect_type=types.get(image) if label == "defect" else None,
                        mask=prefix + mask if mask else None,
                        dataset=dataset,
                    )
                )
        if len(table) == size:
            raise LriadError(f"{show(folder)}: holds no image; expected {_IMAGES}/Normal and {_IMAGES}/Anomaly")
    return table


def _masks_by_stem(folder: str) -> dict[str, str]:
    below = "Data/Masks/Anomaly"
    if not os.path.isdir(os.path.join(folder, below)):
        return {}
    return {
        os.path.splitext(name)[0]: f"{below}/{name}" for name in scan(os.path.join(folder, below))[1] if is_image(name)
    }


def _read_splits(path: str) -> dict[str, Split]:
    """The official side of each image, by its path below VisA's folder; {} without the file."""
    if not os.path.exists(path):
        return {}
    splits: dict[str, Split] = {}
    for line, row in read_csv(path):
        where = f"{show(path)}:{line}"
        missing = [name for name in ("split", "label", "image") if name not in row]
        if missing:
            raise LriadError(
                f"{where}: has no column {missing[0]!r}; take VisA's own file: object,split,label,image,mask"
            )
        image = row["image"].strip()
        label = parse_label(row["label"], where)
        folder_label = next((lab for side, lab in _LABELS.items() if f"/{_IMAGES}/{side}/" in image), label)
        if label != folder_label:
            raise LriadError(
                f"{where}: says {label}, but {image!r} lies in the folder of {folder_label} images; mend one"
            )
        split = parse_split(row["split"], where)
        if split is not None:
            splits[image] = split
    return splits


def _read_types(folder: str) -> dict[str, str]:
    """What `image_anno.csv` calls each image's defects, by the image's path below the category's folder."""
    path = os.path.join(folder, "image_anno.csv")
    if not os.path.exists(path):
        return {}
    types: dict[str, str] = {}
    for _, row in read_csv(path):
        image, annotation = row.get("image", ""), row.get("label", "").strip()
        if annotation and annotation.lower() != "normal":
            types[image[max(image.find(_IMAGES), 0) :].strip()] = annotation
    return types
