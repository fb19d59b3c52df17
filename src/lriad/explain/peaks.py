"""What stands out in a heat-map, as boxes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lriad.data.views import Box

MOST = 3
"""Boxes an image."""
_SHARE = 0.5
"""Of the map's highest value that a place must reach."""


def peak_boxes(heatmap_HW: NDArray[np.floating], size: tuple[int, int], floor: float) -> tuple[Box, ...]:
    """Boxes around the connected places that come near the highest one, the highest first.

    Args:
        heatmap_HW: The higher the more suspicious; NaN where nothing was looked at.
        size: Width and height of the image, in pixels.
        floor: What a place must exceed besides; a map that stays below has no box.

    Returns:
        At most three boxes, in pixels of the image.
    """
    values = np.where(np.isnan(heatmap_HW), -np.inf, heatmap_HW)
    above = (values > max(floor, _SHARE * float(values.max()))).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    regions = sorted(range(1, count), key=lambda label: -values[labels == label].max())[:MOST]
    wide, high = size[0] / heatmap_HW.shape[1], size[1] / heatmap_HW.shape[0]
    boxes = []
    for label in regions:
        left, top, width, height = (int(value) for value in stats[label, :4])
        edges = (left * wide, top * high, (left + width) * wide, (top + height) * high)
        x0, y0, x1, y1 = (round(edge) for edge in edges)
        boxes.append((x0, y0, x1, y1))
    return tuple(boxes)
