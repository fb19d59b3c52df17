"""Where in the image: heat-maps, boxes around what stands out, and photographs with both drawn on them."""

from __future__ import annotations

from lriad.explain.maps import map_file, read_map, save_map
from lriad.explain.overlay import marked, overlay, save_overlay, scale_of
from lriad.explain.peaks import peak_boxes

__all__ = ["map_file", "marked", "overlay", "peak_boxes", "read_map", "save_map", "save_overlay", "scale_of"]
