"""MVTec-AD and data sets arranged like it (MVTec LOCO, BTAD, VisA after its authors' `prepare_data.py`).

    <category>/train/good/000.png
    <category>/test/good/000.png
    <category>/test/<type of defect>/000.png
    <category>/ground_truth/<type of defect>/000_mask.png      (may be missing)

MVTec-AD: Bergmann et al., CVPR 2019, https://www.mvtec.com/company/research/datasets/mvtec-ad
MVTec LOCO: Bergmann et al., IJCV 2022, https://www.mvtec.com/company/research/datasets/mvtec-loco
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
from lriad.data.sample import Sample, Split
from lriad.data.table import SampleTable
from lriad.errors import LriadError

MVTEC_AD_COUNTS = {
    "bottle": (209, 20, 63),
    "cable": (224, 58, 92),
    "capsule": (219, 23, 109),
    "carpet": (280, 28, 89),
    "grid": (264, 21, 57),
    "hazelnut": (391, 40, 70),
    "leather": (245, 32, 92),
    "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141),
    "screw": (320, 41, 119),
    "tile": (230, 33, 84),
    "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40),
    "wood": (247, 19, 60),
    "zipper": (240, 32, 119),
}
"""Official numbers of MVTec-AD's images: train good, test good, test defect."""

_LOCO = {"breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"}
# LOCO has good parts for validation: they belong to the whole set, but to neither side.
_SIDES: dict[str, Split | None] = {"train": "train", "validation": None, "test": "test"}
_GOOD = ("good", "ok")
_MASKS = "ground_truth"


def load_mvtec(path: str | os.PathLike[str]) -> SampleTable:
    """The images of a data set in MVTec-AD's layout, with their official sides.

    The folder `good` (or `ok`) holds normal images; any other names a type of defect. Masks may be missing.
    Where a defect has several masks (MVTec LOCO: `ground_truth/<type>/000/`), `mask` is the folder that holds
    them: the mask is their union. The data set is called `mvtec_ad` or `mvtec_loco` where all its categories
    are that set's, else after its folder.

    Args:
        path: The folder of the categories, or of one category.

    Raises:
        LriadError: The folder is missing, unreadable, has another layout, or a category has no image.
    """
    root = root_of(path)
    table = SampleTable(root)
    categories = find_categories(root, "mvtec")
    dataset = _dataset_name(root, {category for category, _ in categories})
    for category, relative in categories:
        prefix = f"{relative}/" if relative else ""
        folder = os.path.join(root, relative)
        subfolders, _ = scan(folder)
        refuse_strays(folder, "", (*_SIDES, _MASKS), "put them below train/good, test/good or test/<type>")
        size = len(table)
        for side, split in _SIDES.items():
            if side not in subfolders:
                continue
            types, _ = scan(os.path.join(folder, side))
            refuse_strays(folder, side, types, f"put them below {side}/good or {side}/<type>")
            for type_ in types:
                normal = type_.lower() in _GOOD
                masks = {} if normal or _MASKS not in subfolders else _masks_by_stem(folder, type_)
                for image in walk_images(folder, f"{side}/{type_}"):
                    mask = masks.get(os.path.splitext(os.path.basename(image))[0]) if side == "test" else None
                    table.append(
                        Sample(
                            id=prefix + image,
                            image=prefix + image,
                            label="normal" if normal else "defect",
                            category=category,
                            object_name=object_name_for(category),
                            split=split,
                            defect_type=None if normal else type_,
                            mask=prefix + mask if mask else None,
                            dataset=dataset,
                        )
                    )
        if len(table) == size:
            raise LriadError(f"{show(folder)}: holds no image; expected train/good and test/<good or defect>")
    return table


def _dataset_name(root: str, categories: set[str]) -> str:
    if categories <= MVTEC_AD_COUNTS.keys():
        return "mvtec_ad"
    return "mvtec_loco" if categories <= _LOCO else name_of(root)


def _masks_by_stem(folder: str, type_: str) -> dict[str, str]:
    """Mask file, or folder of mask files, of each image of a type, by the image's name without its ending."""
    below = f"{_MASKS}/{type_}"
    if not os.path.isdir(os.path.join(folder, below)):
        return {}
    subfolders, files = scan(os.path.join(folder, below))
    masks = {name: f"{below}/{name}" for name in subfolders}
    for name in filter(is_image, files):
        masks[os.path.splitext(name)[0].removesuffix("_mask")] = f"{below}/{name}"
    return masks
