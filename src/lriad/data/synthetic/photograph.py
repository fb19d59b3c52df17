"""The shot: lamp, framing, lens, sensor and file. Nothing here is ever a defect."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lriad.data.synthetic.canvas import UNITS, Canvas, Floats, Rng, develop, grid, noise


def photograph(
    canvas: Canvas, mask: NDArray[np.bool_], direction: float, rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Take one picture of a canvas.

    Args:
        canvas: The assembled part.
        mask: Its defect, of shape (S, S).
        direction: Where the lamp of this rig stands, in degrees; each shot moves it a little.
        rng: The shot's randomness.

    Returns:
        The photograph of shape (S, S, 3), RGB, and the mask where the photograph shows it.
    """
    image = develop(
        canvas,
        direction + rng.uniform(-20, 20),
        slant=rng.uniform(0.65, 0.85),
        shadow=rng.uniform(0.15, 0.5),
    )
    tone = np.float32(rng.uniform(0.9, 1.1))
    image *= (canvas.part + (1 - canvas.part) * tone)[..., None]
    warp = _framing(rng, canvas.size)
    size = (canvas.size, canvas.size)
    image = cv2.warpAffine(image, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    warped = cv2.warpAffine(
        mask.astype(np.uint8), warp, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
    )
    image = _light(image, rng)
    image = _sensor(image, rng, canvas.unit)
    return image, warped.astype(bool)


def _framing(rng: Rng, size: int) -> Floats:
    """A slight turn, zoom and shift."""
    warp = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(-4, 4), rng.uniform(0.97, 1.05))
    warp[:, 2] += rng.uniform(-0.02, 0.02, 2) * size
    return warp.astype(np.float32)


def _light(image: Floats, rng: Rng) -> Floats:
    """Level, gradient, colour cast, and sometimes a soft shadow or a reflection of the lamp."""
    size = image.shape[0]
    x, y = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = ((x - UNITS / 2) * np.cos(angle) + (y - UNITS / 2) * np.sin(angle)) / (UNITS / 2)
    field = rng.uniform(0.78, 1.12) * (1 + rng.uniform(0, 0.13) * ramp)
    if rng.random() < 0.3:
        offset, width = rng.uniform(-0.9, 0.9), rng.uniform(0.25, 0.6)
        field *= 1 - rng.uniform(0.06, 0.18) / (1 + np.exp(-(ramp - offset) / (0.2 * width)))
    image *= field[..., None].astype(np.float32)
    image *= rng.uniform(0.96, 1.04, 3).astype(np.float32)
    if rng.random() < 0.25:
        cx, cy = rng.uniform(40, 280, 2)
        spread = rng.uniform(40, 90)
        spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2))
        image += (rng.uniform(10, 35) * spot)[..., None].astype(np.float32)
    return image


def _sensor(image: Floats, rng: Rng, unit: float) -> NDArray[np.uint8]:
    """Blur, noise, rounding, and most often a JPEG file."""
    sigma = rng.uniform(0, 0.8) * unit
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    strength = rng.uniform(0.8, 4.0)
    size = image.shape[0]
    image += noise(rng, size, 0.01)[..., None] * np.float32(strength)
    if rng.random() < 0.5:  # Colour noise, coarser than the pixels as after demosaicing.
        chroma = rng.standard_normal((size // 2, size // 2, 3), np.float32) * np.float32(0.6 * strength)
        image += cv2.resize(chroma, (size, size), interpolation=cv2.INTER_LINEAR)
    pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    quality = int(rng.integers(70, 97))
    if rng.random() < 0.75:
        _, file = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.ascontiguousarray(cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1])
    return pixels
