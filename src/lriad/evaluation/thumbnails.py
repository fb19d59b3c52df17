"""Small pictures and heat-maps for a report, each within its share of a budget of bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lriad.data.image import open_image, to_rgb
from lriad.errors import LriadError
from lriad.explain import read_map

SMALLEST = 700
"""Bytes below which a picture shows nothing."""

# Longer side in pixels and JPEG quality, best first.
_STEPS = ((320, 80), (256, 76), (208, 72), (168, 68), (136, 62), (112, 56), (96, 50), (80, 44), (64, 38), (48, 32))
_LEAST_BYTES = 0.035  # a pixel: below, not even a picture of a plain surface stays
_MAP_SIDES = (40, 20)
_MAP_SHARE = 0.3  # of the bytes of an image, at most, for its heat-map
_LEVELS = 24  # of a heat-map
_OPACITY = 0.8  # of a heat-map where it is full


@dataclass(frozen=True)
class Thumbnail:
    """What a report shows of one image.

    Attributes:
        picture: A JPEG; empty where there is none.
        heatmap: A transparent PNG to be laid over it, of any size; empty where there is none.
        size: Width and height in pixels of the image itself, upright.
        missing: Why there is no picture: `path` (no file is named), `file` (it cannot be read) or `room` (the bytes do
            not suffice).
    """

    picture: bytes = b""
    heatmap: bytes = b""
    size: tuple[int, int] = (1, 1)
    missing: Literal["path", "file", "room"] | None = None


@dataclass(frozen=True)
class Wanted:
    """An image to make a thumbnail of.

    Attributes:
        image: Path of its file; empty where nobody names one.
        room: Bytes for picture and heat-map together.
        heatmap: Path of its heat-map, a `.npy` of shape (H, W); None without one.
        scale: Values of the heat-map where the colour begins and where it is full.
    """

    image: str
    room: int
    heatmap: Path | None = None
    scale: tuple[float, float] = (0.0, 1.0)


def make_thumbnails(wanted: Sequence[Wanted]) -> list[Thumbnail]:
    """A thumbnail of each, in order, on all processors: Pillow decodes and encodes without Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(make_thumbnail, wanted))


def make_thumbnail(wanted: Wanted) -> Thumbnail:
    """The picture, as large as the bytes allow, and the heat-map; never an error."""
    if not wanted.image:
        return Thumbnail(missing="path")
    if wanted.room < SMALLEST:
        return Thumbnail(missing="room")
    heatmap = b""
    if wanted.heatmap is not None:
        heatmap = _heatmap_png(wanted.heatmap, wanted.scale, int(_MAP_SHARE * wanted.room))
    room = wanted.room - len(heatmap)
    start = next((i for i, (side, _) in enumerate(_STEPS) if side**2 * _LEAST_BYTES <= room), len(_STEPS) - 1)
    try:
        image, size = _open_small(wanted.image, _STEPS[start][0])
    except (LriadError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Thumbnail(missing="file")
    if picture := _jpeg(image, room, start):
        return Thumbnail(picture, heatmap, size)
    if heatmap and (picture := _jpeg(image, wanted.room, len(_STEPS) - 1)):
        return Thumbnail(picture, b"", size)
    return Thumbnail(missing="room")


def share_out(weights: NDArray[np.floating], room: int) -> NDArray[np.int64]:
    """Bytes for each of N images, of shape (N,), together at most `room`; 0 for those that get none.

    Args:
        weights: How much each is to get, positive, those that matter most first: where there is not enough for all,
            the last ones get none.
        room: Bytes for all.
    """
    fit = min(len(weights), max(0, room) // SMALLEST)
    bytes_N = np.zeros(len(weights), np.int64)
    if fit:
        # Each of them has what shows something; the rest goes by weight.
        bytes_N[:fit] = SMALLEST + np.floor((room - fit * SMALLEST) * weights[:fit] / weights[:fit].sum())
    return bytes_N


def _open_small(path: str, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """An image in RGB, at most `side` pixels long, and its full size; of a JPEG, no more is decoded than that takes."""
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        raise LriadError(f"{path}: no such file")
    try:
        with Image.open(path, formats=["JPEG"]) as opened:
            full = opened.size
            opened.draft("RGB", (side, side))
            drafted = opened.size
            image = to_rgb(ImageOps.exif_transpose(opened))
        # Upright, width and height may have changed places.
        size = full if image.size == drafted else full[::-1]
    except Image.UnidentifiedImageError:
        image = open_image(path)
        size = image.size
    image.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image, size


def _jpeg(image: Image.Image, room: int, start: int) -> bytes:
    """The first of the steps that fits; nothing where none does."""
    for side, quality in _STEPS[start:]:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= room:
            return file.getvalue()
    return b""


def _heatmap_png(path: Path, scale: tuple[float, float], room: int) -> bytes:
    """A heat-map in the colours of the overlays, transparent where nothing deviates; nothing where it cannot be."""
    import cv2

    try:
        values_HW = read_map(path)
    except LriadError:
        return b""
    low, high = scale
    # What was not looked at is NaN, and is left as it is.
    strength_HW = np.nan_to_num(np.clip((values_HW - low) / (high - low), 0, 1), nan=0.0)
    strength = np.arange(_LEVELS) / (_LEVELS - 1)
    colours = cv2.applyColorMap((255 * strength[:, None]).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    opacity = (255 * _OPACITY * np.sqrt(strength)).astype(np.uint8)
    for side in _MAP_SIDES:
        shrink = min(1.0, side / max(strength_HW.shape))
        height, width = (max(1, round(shrink * length)) for length in strength_HW.shape)
        small_HW = cv2.resize(strength_HW, (width, height), interpolation=cv2.INTER_AREA)
        level_HW = np.rint(small_HW * (_LEVELS - 1)).astype(np.uint8)
        image = Image.fromarray(level_HW, "P")
        image.putpalette(colours.tobytes())
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True, transparency=bytes(opacity))
        if file.tell() <= room:
            return file.getvalue()
    return b""
