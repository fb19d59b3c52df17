"""One labelled photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Label = Literal["defect", "normal", "unknown"]
Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what is known of it.

    Attributes:
        id: Stable name, relative to the data set's root, with forward slashes; unique in the data set.
        image: Path of the image file.
        label: `defect`, `normal`, or `unknown` where nobody has said.
        category: The kind of part, as the data set spells it (`metal_nut`).
        object_name: The category in words, as the prompt names it (`metal nut`).
        split: Official side, where the data set has one.
        defect_type: The source's name of the defect (`scratch`); None for normal images or where not told.
        group: Images of one group (one part, one board, one series) never fall on both sides of a split.
            None is a group of its own.
        mask: Pixel mask of the defect, for measuring localisation only: training never reads it.
        dataset: Name of the data set.
    """

    id: str
    image: str
    label: Label
    category: str
    object_name: str
    split: Split | None = None
    defect_type: str | None = None
    group: str | None = None
    mask: str | None = None
    dataset: str = ""


def object_name_of(category: str) -> str:
    """The category in words: `metal_nut` -> `metal nut`."""
    return " ".join(category.replace("_", " ").replace("-", " ").split())
