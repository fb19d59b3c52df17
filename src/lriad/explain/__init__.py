"""Where in the image: heat-maps, boxes around what stands out, and photographs with both drawn on them."""

from __future__ import annotations

from lriad.explain.overlay import (
    SCALE_MEMORY,
    SCALE_POLICY,
    map_file,
    marked,
    overlay,
    save_map,
    save_overlay,
    scale_of,
)
from lriad.explain.peaks import peak_boxes

__all__ = [
    "SCALE_MEMORY",
    "SCALE_POLICY",
    "map_file",
    "marked",
    "overlay",
    "peak_boxes",
    "save_map",
    "save_overlay",
    "scale_of",
]
