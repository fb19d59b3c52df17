"""Parts of an image that are looked at one by one: a region of interest, or overlapping tiles and their whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lriad.errors import LriadError

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; the last two lie outside."""

_SLACK = 0.05
"""Of a tile: how much longer than so many tiles the shorter side may be. A few pixels must not make another layout."""
_OVERLAP = 0.2
"""Of a tile with its neighbour, so that a defect on the border is whole in one of them."""
_WHOLE_UP_TO = 4
"""Times as long as wide up to which an image is looked at whole beside its tiles: what is longer would be squeezed
beyond recognition, or refused by the policy's processor."""
MAX_TILES = 16
_SMALLEST = 32
"""Pixels a side of a region of interest: of fewer no policy sees more than a colour."""


@dataclass(frozen=True)
class Views:
    """Which parts of an image are looked at.

    Attributes:
        roi: Region of interest as left, top, width and height in pixels; None for the whole image.
        tiles: Tiles along the longer side of what is looked at, 1 to 16; the shorter one has as many as fit. Beside
            them the whole is looked at, unless it is more than four times as long as wide: what is missing or askew
            shows there, what is small in the tiles.

    Raises:
        LriadError: A number is out of its range.
    """

    roi: tuple[int, int, int, int] | None = None
    tiles: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.tiles <= MAX_TILES:
            raise LriadError(f"tiles {self.tiles}: expected 1 to {MAX_TILES} along the longer side")
        if self.roi is not None and (min(self.roi[:2]) < 0 or min(self.roi[2:]) < _SMALLEST):
            raise LriadError(
                f"roi {','.join(map(str, self.roi))}: expected left, top, width and height in pixels, inside the image "
                f"and at least {_SMALLEST} wide and high"
            )

    def __str__(self) -> str:
        parts = [f"roi {','.join(map(str, self.roi))}"] if self.roi else []
        parts += [f"whole and {self.tiles} tiles"] if self.tiles > 1 else []
        return ", ".join(parts) or "whole images"

    def boxes(self, size: tuple[int, int]) -> list[Box]:
        """The parts of an image of this width and height: the tiles row by row, before them the whole where it has one.

        Raises:
            LriadError: The region does not lie in the image.
        """
        left, top, width, height = self._region(size)
        columns, rows = self.layout(size)
        spans = [_spans(start, length, count) for start, length, count in ((left, width, columns), (top, height, rows))]
        tiles = [(x0, y0, x1, y1) for y0, y1 in spans[1] for x0, x1 in spans[0]]
        return [(left, top, left + width, top + height), *tiles] if self.has_whole(size) else tiles

    def layout(self, size: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows of the tiles.

        Raises:
            LriadError: As `boxes`.
        """
        _, _, width, height = self._region(size)
        longer, shorter = max(width, height), min(width, height)
        across = max(1, math.ceil(self.tiles * shorter / longer - _SLACK))
        return (self.tiles, across) if width >= height else (across, self.tiles)

    def has_whole(self, size: tuple[int, int]) -> bool:
        """Whether the whole is looked at beside tiles.

        Raises:
            LriadError: As `boxes`.
        """
        _, _, width, height = self._region(size)
        return self.tiles > 1 and max(width, height) <= _WHOLE_UP_TO * min(width, height)

    def _region(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        left, top, width, height = self.roi or (0, 0, *size)
        if left + width > size[0] or top + height > size[1]:
            roi = ",".join(map(str, self.roi or ()))
            raise LriadError(f"roi {roi}: reaches beyond this image of {size[0]} x {size[1]} pixels")
        return left, top, width, height

    def crops(self, image: Image.Image) -> list[Image.Image]:
        """Those parts."""
        boxes = self.boxes(image.size)
        return [image] if boxes == [(0, 0, *image.size)] else [image.crop(box) for box in boxes]


def _spans(start: int, length: int, count: int) -> list[tuple[int, int]]:
    """`count` spans of equal length over a longer one, which overlap."""
    side = min(length, math.ceil(length / (count - (count - 1) * _OVERLAP)))
    return [
        (start + at, start + at + side) for at in (round(i * (length - side) / max(1, count - 1)) for i in range(count))
    ]


def parse_roi(text: str) -> tuple[int, int, int, int]:
    """`LEFT,TOP,WIDTH,HEIGHT` in pixels.

    Raises:
        LriadError: It is something else.
    """
    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise LriadError(f"roi {text!r}: expected LEFT,TOP,WIDTH,HEIGHT in pixels, such as 100,50,400,300") from None
    return left, top, width, height


def stitch(maps: Sequence[NDArray[np.float32]], boxes: Sequence[Box], size: tuple[int, int]) -> NDArray[np.float32]:
    """Maps of parts as one map of the whole image, as fine as the finest; where parts overlap the larger value counts.

    Args:
        maps: Of shape (h, w) each.
        boxes: Where the parts lie.
        size: Width and height of the image.

    Returns:
        Shape (H, W); NaN where no part lies.
    """
    import cv2

    if list(boxes) == [(0, 0, *size)]:
        return maps[0]
    cell = min(
        side / count
        for one, (left, top, right, bottom) in zip(maps, boxes, strict=True)
        for side, count in ((right - left, one.shape[1]), (bottom - top, one.shape[0]))
    )
    width, height = (max(1, round(side / cell)) for side in size)
    stitched = np.full((height, width), -np.inf, np.float32)
    for one, (left, top, right, bottom) in zip(maps, boxes, strict=True):
        x0, y0 = (min(round(at / cell), limit - 1) for at, limit in ((left, width), (top, height)))
        x1, y1 = max(x0 + 1, min(round(right / cell), width)), max(y0 + 1, min(round(bottom / cell), height))
        resized = cv2.resize(one, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        np.maximum(stitched[y0:y1, x0:x1], resized, out=stitched[y0:y1, x0:x1])
    stitched[np.isneginf(stitched)] = np.nan
    return stitched
