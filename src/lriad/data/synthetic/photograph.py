"""The shot: lamp, framing, lens, sensor and file. Nothing here is ever a defect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lriad.data.synthetic.canvas import UNITS, Canvas, Floats, Rng, develop, grid


@dataclass(frozen=True)
class Rig:
    """The camera's post: what stays when the same part is photographed again.

    Attributes:
        direction: Where the lamp stands, in degrees, 0 right, 90 below.
        monochrome: Whether the camera sees grey only.
        quarter_turns: How the camera is turned.
        zoom: Magnification, 1 shows the whole canvas.
        eye: What the camera is pointed at where it is zoomed in, x and y in units.
        tilt: A turn of the camera beside the quarter turns, in degrees.
        rough: Whether lamp, lens, sensor and file may be poor ones.
        shade: The light that something outside the picture leaves, of shape (S, S), in (0, 1]; None for all of it.
    """

    direction: float
    monochrome: bool = False
    quarter_turns: int = 0
    zoom: float = 1.0
    eye: tuple[float, float] = (UNITS / 2, UNITS / 2)
    tilt: float = 0.0
    rough: bool = False
    shade: Floats | None = None


def photograph(
    canvas: Canvas, mask: NDArray[np.bool_], rig: Rig, rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Take one picture of a canvas.

    Args:
        canvas: The assembled part.
        mask: Its defect, of shape (S, S).
        rig: The camera and its lamp; each shot moves both a little.
        rng: The shot's randomness.

    Returns:
        The photograph of shape (S, S, 3), RGB, and the mask where the photograph shows it.
    """
    image = develop(
        canvas,
        rig.direction + rng.uniform(-20, 20),
        slant=rng.uniform(0.65, 0.85),
        shadow=rng.uniform(0.15, 0.5),
    )
    tone = rng.uniform(0.9, 1.1)  # The table is never quite the same.
    image *= tone + (1 - tone) * canvas.part
    if rig.shade is not None:
        image *= rig.shade
    if rig.monochrome:
        image[:] = 0.3 * image[0] + 0.59 * image[1] + 0.11 * image[2]
    warp = _framing(rig, rng, canvas.size)
    shown = np.stack([_warped(plane, warp, cv2.INTER_LINEAR) for plane in image])
    _light(shown, rig, rng)
    warped = _warped(mask.astype(np.uint8), warp, cv2.INTER_NEAREST).astype(bool)
    return _sensor(cv2.merge(list(shown)), rig, rng, canvas.unit), warped


def _framing(rig: Rig, rng: Rng, size: int) -> Floats:
    """The rig's view with a slight turn, zoom and shift, as an affine map of shape (2, 3)."""
    unit, half = size / UNITS, size / 2
    # Zoomed in, the camera must not look beyond the canvas.
    reach = UNITS / (2 * rig.zoom)
    eye = tuple(min(max(at, reach), UNITS - reach) * unit for at in rig.eye)
    zoom = rig.zoom * rng.uniform(0.97, 1.05)
    warp: Any = cv2.getRotationMatrix2D(eye, 90 * rig.quarter_turns + rig.tilt + rng.uniform(-4, 4), zoom)
    warp[:, 2] += half - np.array(eye) + rng.uniform(-0.02, 0.02, 2) * size
    return warp.astype(np.float32)


def _warped(plane: NDArray, warp: Floats, interpolation: int) -> NDArray:
    return cv2.warpAffine(plane, warp, plane.shape[::-1], flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)


def _light(image: Floats, rig: Rig, rng: Rng) -> None:
    """Level, gradient, colour cast, and sometimes a soft shadow or a reflection of the lamp; on (3, S, S), in place."""
    size = image.shape[1]
    x, y = grid(40)  # All of it is smooth.
    angle = rng.uniform(0, 2 * np.pi)
    ramp = ((x - UNITS / 2) * np.cos(angle) + (y - UNITS / 2) * np.sin(angle)) / (UNITS / 2)
    level = rng.uniform(0.7 if rig.rough else 0.78, 1.12) * (1 + rng.uniform(0, 0.13) * ramp)
    if rng.random() < 0.3:
        edge, width = rng.uniform(-0.9, 0.9), rng.uniform(0.08, 0.2)
        level *= 1 - rng.uniform(0.06, 0.18) / (1 + np.exp(-(ramp - edge) / width))
    level = cv2.resize(level.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    cast = 1 + rng.uniform(-0.025, 0.025, 3) * (2 if rig.rough else 1)
    for plane, factor in zip(image, (1, 1, 1) if rig.monochrome else cast, strict=True):
        plane *= level * float(factor)
    if rng.random() < 0.25:
        cx, cy = rng.uniform(40, 280, 2)
        spread = rng.uniform(40, 90)
        spot = rng.uniform(10, 35) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2))
        image += cv2.resize(spot.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)


def _sensor(image: Floats, rig: Rig, rng: Rng, unit: float) -> NDArray[np.uint8]:
    """Blur, noise, rounding, and most often a JPEG file; on (S, S, 3)."""
    sigma = rng.uniform(0, 1.1 if rig.rough else 0.8) * unit
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    size, strength = image.shape[0], np.float32(rng.uniform(0.8, 5.0 if rig.rough else 4.0))
    grain = rng.standard_normal((size, size), np.float32) * strength
    image += cv2.merge([grain, grain, grain])
    if not rig.monochrome and rng.random() < 0.5:  # Colour noise, coarser than the pixels as after demosaicing.
        chroma = rng.standard_normal((size // 2, size // 2, 3), np.float32) * (strength * np.float32(0.6))
        image += cv2.resize(chroma, (size, size), interpolation=cv2.INTER_LINEAR)
    pixels: Any = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    quality = int(rng.integers(45 if rig.rough else 70, 97))
    if rng.random() < 0.75:
        _, file = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
    return pixels
