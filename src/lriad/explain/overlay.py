"""A photograph with what deviates marked on it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lriad.data.image import open_image

USUAL, ALARMING = 1.0, 6.0
"""Deviations, in standard deviations of good images, where the colour begins and where it is full."""
_LARGEST = 1024
"""Pixels of the longer side of what is drawn."""
_STRENGTH = 0.6
"""Of the colour where it is full."""


def overlay(image: Image.Image, heatmap_HW: NDArray[np.floating], note: str = "") -> Image.Image:
    """The image, grey where nothing deviates, and beside it the image as it is.

    Args:
        image: In RGB.
        heatmap_HW: Deviation of each place in standard deviations of good images; NaN where nothing was looked at.
        note: A line below.

    Returns:
        The two side by side, at most 1024 pixels on an image's longer side.
    """
    import cv2

    image = image.copy()
    image.thumbnail((_LARGEST, _LARGEST))
    pixels = np.asarray(image, np.float32)
    size = (image.width, image.height)
    known = np.where(np.isnan(heatmap_HW), USUAL, heatmap_HW).astype(np.float32)
    strength = np.clip((cv2.resize(known, size, interpolation=cv2.INTER_CUBIC) - USUAL) / (ALARMING - USUAL), 0, 1)
    colours = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = np.repeat(pixels.mean(2, keepdims=True), 3, 2)
    weight = _STRENGTH * strength[..., None]
    marked = grey * (1 - weight) + colours * weight
    gap = np.full((image.height, 8, 3), 255, np.float32)
    both = np.ascontiguousarray(np.concatenate([pixels, gap, marked], 1).astype(np.uint8))
    if note:
        bar = np.full((24, both.shape[1], 3), 255, np.uint8)
        text = note.encode("ascii", "replace").decode()
        cv2.putText(bar, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        both = np.concatenate([both, bar])
    return Image.fromarray(both)


def save_overlay(
    image: str | os.PathLike[str], sha256: str, heatmap_HW: NDArray[np.floating], note: str, folder: str | Path
) -> Path:
    """Draw an image's overlay into a folder; the file is named after the image and its hash.

    Returns:
        The file, a PNG.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # A file's name is not ours: only its harmless characters are kept.
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(os.fspath(image)).stem)[:60]
    file = folder / f"{stem}-{sha256[:12]}.png"
    overlay(open_image(image), heatmap_HW, note).save(file)
    return file
