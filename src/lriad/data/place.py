"""Where in an image something is, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PLACES = (
    *("upper left", "top", "upper right"),
    *("left", "centre", "right"),
    *("lower left", "bottom", "lower right"),
)
"""The nine fields of a grid of 3 x 3 over the image, row by row."""


def place_of(mask: NDArray[np.bool_]) -> str:
    """One of nine places in words, from the centroid of a mask of shape (H, W) with at least one True."""
    rows, cols = np.nonzero(mask)
    row, col = rows.mean() / mask.shape[0], cols.mean() / mask.shape[1]
    return PLACES[3 * min(2, int(3 * row)) + min(2, int(3 * col))]
