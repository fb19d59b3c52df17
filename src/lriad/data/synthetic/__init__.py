"""Procedural photographs of parts: three families with disjoint categories, labels, masks and reasons.

`parts` is what the embedded policy is pretrained on; `objects` and `textures` are for training and testing by users,
and share no category and no drawing function with it. Defects and materials are shared by all.
"""

from lriad.data.synthetic.dataset import make_dataset
from lriad.data.synthetic.families import FAMILIES, Category, Family
from lriad.data.synthetic.narration import describe, narrate
from lriad.data.synthetic.rendering import Rendering, defect_kinds, render

__all__ = [
    "FAMILIES",
    "Category",
    "Family",
    "Rendering",
    "defect_kinds",
    "describe",
    "make_dataset",
    "narrate",
    "render",
]
