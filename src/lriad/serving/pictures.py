"""Uploaded pictures: what is let in, and what is shown again."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageOps

from lriad.data.image import to_rgb
from lriad.errors import LriadError

EXTENSIONS = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "PNG": "png",
    "BMP": "bmp",
    "TIFF": "tif",
    "WEBP": "webp",
    "GIF": "gif",
    "PPM": "ppm",
}
"""What is let in: the formats of cameras, by Pillow's name, and the ending that a file of each gets."""

_FORMATS = tuple(name for name in EXTENSIONS if name != "MPO")  # which is recognised as JPEG first
_QUALITY = 85


def identify(path: Path, max_pixels: int) -> str:
    """The ending for an image file, by its content; from its first bytes, nothing is decoded.

    Raises:
        LriadError: It is none of these formats, or of more than `max_pixels` pixels.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            extension, (width, height) = EXTENSIONS[image.format or ""], image.size
    except Image.DecompressionBombError:
        raise LriadError(f"more than {max_pixels / 1e6:g} megapixels; scale it down") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        raise LriadError("not an image that can be read; send JPEG, PNG, TIFF, BMP, WebP, GIF or PPM") from error
    if width * height > max_pixels:
        raise LriadError(f"{width} x {height} pixels: more than {max_pixels / 1e6:g} megapixels; scale it down")
    return extension


def preview(path: Path, side: int) -> Image.Image:
    """The image upright and in RGB, its longer side at most so many pixels.

    Raises:
        LriadError: The file is missing, or damaged.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.draft("RGB", (side, side))  # JPEG: decoded at a fraction of its size
            image.load()
            with suppress(Exception):  # damaged EXIF does not spoil the pixels
                ImageOps.exif_transpose(image, in_place=True)
            shown = to_rgb(image)
    except Exception as error:  # as above
        raise LriadError("the picture's file is missing or damaged") from error
    shown.thumbnail((side, side))
    return shown


def as_jpeg(image: Image.Image) -> bytes:
    """An RGB image's bytes, without what its file said of camera and place."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def shown_name(name: str | None) -> str:
    """A client's file name as it may be shown: its last part, printable, at most 200 characters."""
    last = (name or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "".join(char for char in last if char.isprintable()).strip()[:200] or "picture"
