"""Any image file as 8-bit RGB, upright, or one line that says why not."""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from functools import cache
from io import BufferedReader

from PIL import Image, ImageCms, ImageOps

from lriad.data._files import reason, show
from lriad.errors import LriadError

MAX_PIXELS = 178_956_970
"""Largest image that is opened, in pixels (179 megapixels): beyond, Pillow suspects a decompression bomb."""

# Encapsulated PostScript is a program that Pillow hands to Ghostscript; the others it cannot decode.
_REFUSED_FORMATS = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"}
# Not read by Pillow, yet listed by the loaders: such a photograph gets a clear error instead of being missed.
_KNOWN_UNREADABLE = {".heic", ".heif"}
# Readers that Pillow has at once; for the others it imports sixty modules.
_COMMON_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM")

# Pillow warns of odd metadata and of images over half of MAX_PIXELS: nothing that a user should act on.
warnings.filterwarnings("ignore", module=r"PIL\.")


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _REFUSED_FORMATS)


@cache
def image_suffixes() -> frozenset[str]:
    """Endings of the files that count as images, in lower case with the dot."""
    formats = set(_formats())
    return frozenset(_KNOWN_UNREADABLE | {s for s, f in Image.registered_extensions().items() if f in formats})


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """The image as people see it: upright and in mode RGB, of size (width, height).

    - The EXIF orientation is applied. Of several frames or pages the first is taken.
    - Transparent parts become white.
    - CMYK, YCbCr, LAB, palette, grey and two-level images are converted.
    - Grey images of more than 8 bits keep their high byte, that is, the full 16-bit range becomes 0..255,
      unless no pixel exceeds 255: then the values are 8-bit ones already. Beyond 16 bits the range found is
      stretched to 0..255.
    - Floating-point images are read by their range: 0..1, 0..255 or 0..65535; any other is stretched to
      0..255. What is not a number becomes 0.

    Args:
        path: The image file.

    Raises:
        LriadError: The file is missing, empty, truncated, no image, not readable, or over `MAX_PIXELS`.
    """
    name = show(path)
    with _open_binary(path) as file:
        try:
            with _identify(file) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise Image.DecompressionBombError(f"{width} x {height} pixels")
                image.load()
                _turn_upright(image)
                return to_rgb(image)
        except Image.DecompressionBombError as error:
            limit = f"images over {MAX_PIXELS / 1e6:.0f} megapixels are refused; scale it down"
            raise LriadError(f"{name}: too large ({_one_line(error)}): {limit}") from error
        except Image.UnidentifiedImageError as error:
            raise LriadError(f"{name}: not an image that can be read; convert it to PNG or JPEG") from error
        except MemoryError as error:
            raise LriadError(f"{name}: not enough memory to decode it; scale the image down") from error
        except Exception as error:
            # Pillow's readers raise nearly anything on damaged bytes: OSError, SyntaxError, struct.error, ...
            raise LriadError(f"{name}: damaged or truncated image ({_one_line(error)}); replace the file") from error


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, as 64 hexadecimal digits.

    Raises:
        LriadError: The file is missing, empty or not readable.
    """
    with _open_binary(path) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise LriadError(f"{show(path)}: {reason(error)}") from error


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 of an RGB image's pixels, as 64 hexadecimal digits."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def _open_binary(path: str | os.PathLike[str]) -> BufferedReader:
    name = show(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise LriadError(f"{name}: a folder, not an image file; name one image")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise LriadError(f"{name}: not a regular file; name an image file")
        if status.st_size == 0:
            raise LriadError(f"{name}: the file is empty (0 bytes); replace it")
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise LriadError(f"{name}: {reason(error)}") from error


def _identify(file: BufferedReader) -> Image.Image:
    """The image in a file, its pixels not read yet."""
    try:
        return Image.open(file, formats=_COMMON_FORMATS)
    except Image.UnidentifiedImageError:
        file.seek(0)
        return Image.open(file, formats=_formats())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:
        # Damaged EXIF does not spoil the pixels: cameras and editors write a lot of it.
        return


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.mode == "LAB":
        to_srgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        converted = ImageCms.applyTransform(image, to_srgb)
        assert converted is not None  # None only where it works in place
        image = converted
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """A grey image of mode I;16*, I or F in mode L."""
    import numpy as np

    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        scale = 255 / (high - low) if high > low else 0.0
        values = np.rint((values.astype(np.float32) - low) * scale)
    elif values.dtype.kind == "f":
        scale = 255 if high <= 1 else 1 if high <= 255 else 255 / 65535
        values = np.rint(values * scale)
    elif high > 255:
        values = values >> 8
    return Image.fromarray(values.astype(np.uint8))
