"""A photograph with its heat-map drawn on it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lriad.data._files import reason, show
from lriad.data.image import open_image
from lriad.data.views import Box
from lriad.errors import LriadError
from lriad.verdict import Verdict, what_decided

_SCALE_MEMORY = (1.0, 6.0)
"""Of deviations from good images, in their standard deviations: where the colour begins and where it is full."""
_SCALE_POLICY = (0.1, 0.6)
"""The same of what the policy's answer comes from."""
LARGEST = 1024
"""Pixels of the longer side of what is drawn."""
_STRENGTH = 0.6
"""Of the colour where it is full."""
_BOX = (0, 200, 255)
_MARGIN = 8
_MOST_LINES = 7


def scale_of(memory: str | None) -> tuple[float, float]:
    """The scale that a verdict's heat-map is drawn by, from its `memory`."""
    return _SCALE_MEMORY if memory else _SCALE_POLICY


def marked(
    image: Image.Image, heatmap_HW: NDArray[np.floating], boxes: Sequence[Box], scale: tuple[float, float]
) -> Image.Image:
    """The image, grey where nothing stands out, red to yellow where something does, boxes around that.

    Args:
        image: In RGB.
        heatmap_HW: NaN where nothing was looked at.
        boxes: In pixels of the image.
        scale: Values of the map where the colour begins and where it is full.

    Returns:
        The image at its own size.
    """
    import cv2

    size, (low, high) = image.size, scale
    known = np.where(np.isnan(heatmap_HW), low, heatmap_HW).astype(np.float32)
    strength = np.clip((cv2.resize(known, size, interpolation=cv2.INTER_CUBIC) - low) / (high - low), 0, 1)
    colours = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_AUTUMN)[..., ::-1]
    grey = np.repeat(np.asarray(image, np.float32).mean(2, keepdims=True), 3, 2)
    weight = _STRENGTH * strength[..., None]
    drawn = Image.fromarray((grey * (1 - weight) + colours * weight).astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    for left, top, right, bottom in boxes:
        edges = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(edges, outline=_BOX, width=max(1, max(size) // 256))
    return drawn


def overlay(
    image: Image.Image,
    heatmap_HW: NDArray[np.floating],
    boxes: Sequence[Box],
    scale: tuple[float, float],
    note: str = "",
) -> Image.Image:
    """The image as it is, beside it what stands out, and a note below.

    Args:
        image, heatmap_HW, boxes, scale: As for `marked`.
        note: A few lines of text; what does not fit is cut off, and ends in '...'.

    Returns:
        At most 1024 pixels on an image's longer side.
    """
    shrunk = image.copy()
    shrunk.thumbnail((LARGEST, LARGEST))
    wide, high = shrunk.width / image.width, shrunk.height / image.height
    scaled = [(round(x0 * wide), round(y0 * high), round(x1 * wide), round(y1 * high)) for x0, y0, x1, y1 in boxes]
    width = 2 * shrunk.width + _MARGIN
    size = max(14, width // 72)
    font, leading = ImageFont.load_default(size=size), round(1.3 * size)
    lines = _wrapped(note, font, width - 2 * _MARGIN)
    below = len(lines) * leading + 2 * _MARGIN if lines else 0
    whole = Image.new("RGB", (width, shrunk.height + below), "white")
    whole.paste(shrunk, (0, 0))
    whole.paste(marked(shrunk, heatmap_HW, scaled, scale), (shrunk.width + _MARGIN, 0))
    pen = ImageDraw.Draw(whole)
    for number, line in enumerate(lines):
        pen.text((_MARGIN, shrunk.height + _MARGIN + leading * number), line, fill="black", font=font)
    return whole


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines of at most so many pixels."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    if len(lines) > _MOST_LINES:
        words = [*lines[_MOST_LINES - 1].split(), "..."]
        while len(words) > 1 and font.getlength(" ".join(words)) > width:
            del words[-2]
        lines = [*lines[: _MOST_LINES - 1], " ".join(words)]
    return lines


def _caption(verdict: Verdict) -> str:
    """The decision with what decided, what a memory found beside the policy's own word, and the reason, a line each."""
    found = [f"p {verdict.p_defect:.2f}"] if verdict.p_defect is not None and verdict.deviation is not None else []
    found += [f"deviation {verdict.deviation:+.1f}"] if verdict.deviation is not None else []
    lines = (f"{verdict.decision}: {what_decided(verdict.to_dict())}", ", ".join(found), verdict.reasoning)
    return "\n".join(line for line in lines if line)


def save_overlay(image: str | os.PathLike[str], verdict: Verdict, folder: str | Path) -> Path:
    """Draw an image's overlay, with its verdict and the reason, into a folder.

    Args:
        image: The file.
        verdict: Of it, with a heat-map.
        folder: Made if missing; the new file in it is named after the image and its hash.

    Returns:
        The file, a PNG.

    Raises:
        LriadError: The image cannot be read again, or the picture cannot be written.
    """
    # A file's name is not ours: only its harmless characters are kept.
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(os.fspath(image)).stem)[:60]
    file = Path(folder) / f"{stem}-{verdict.image_sha256[:12]}.png"
    scale, note = scale_of(verdict.memory), _caption(verdict)
    picture = overlay(open_image(image), verdict.heatmap, verdict.boxes or (), scale, note)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
    except OSError as error:
        raise LriadError(f"{show(file)}: cannot be written: {reason(error)}") from error
    return file
