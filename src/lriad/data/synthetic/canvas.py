"""The sheet that every category and every defect is drawn on: colour, relief and gloss, lit only when photographed.

Coordinates and lengths are in units of 1/320 of the image's side, x to the right and y downwards, so that a drawing
looks the same at every size. Colours are planes of shape (3, S, S), RGB in [0, 255]: arithmetic with maps of shape
(S, S) is several times faster that way round.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[Any]
"""32-bit floats (OpenCV's type hints are too wide for more to be said here)."""

Rng = np.random.Generator

UNITS = 320.0
"""Length of the image's side in drawing units."""


class Region(NamedTuple):
    """A rectangle of the canvas and, in it, how much each pixel belongs to a shape.

    Attributes:
        rows: Rows of the rectangle.
        cols: Columns of the rectangle.
        alpha: Coverage of shape (h, w), in [0, 1].
    """

    rows: slice
    cols: slice
    alpha: Floats


Stamp = Callable[["Canvas", float, float, float], None]
"""Draws one thing: `stamp(canvas, x, y, angle)`, the angle in degrees. It must look the same at every call."""


@dataclass(frozen=True)
class Component:
    """One thing that is put on a part, and can therefore be missing, turned or swapped with another.

    Attributes:
        draw: Draws it.
        x: Centre, in units.
        y: Centre, in units.
        radius: Half of its extent, in units.
        angle: Turn, in degrees.
        look: Components of different numbers can be told apart at a glance.
    """

    draw: Stamp
    x: float
    y: float
    radius: float
    angle: float = 0.0
    look: int = 0


@dataclass
class Canvas:
    """A part in front of its background, before any light falls on it.

    Attributes:
        albedo: Colours of shape (3, S, S), RGB in [0, 255].
        background: What is seen where the part is cut away, of shape (3, S, S).
        height: Relief of shape (S, S), in pixels.
        gloss: Strength of the mirror-like reflection, of shape (S, S), in [0, 1].
        part: Where the part is, of shape (S, S), in [0, 1].
        components: What is still to be put on it; `assembled` does so.
        prints: Print that is still to be put on it.
    """

    albedo: Floats
    background: Floats
    height: Floats
    gloss: Floats
    part: Floats
    components: list[Component] = field(default_factory=list)
    prints: list[Component] = field(default_factory=list)

    @classmethod
    def blank(cls, background: Floats) -> Canvas:
        """A canvas that shows its background only, of shape (3, S, S)."""
        size = background.shape[1]
        flat = np.zeros((size, size), np.float32)
        return cls(background.copy(), background, flat.copy(), flat.copy(), flat)

    @classmethod
    def surface(cls, colours: ArrayLike, gloss: float = 0.0) -> Canvas:
        """A canvas that the part fills, with colours of shape (3, S, S); through a hole, its own dark shade shows."""
        albedo = np.clip(np.asarray(colours, np.float32), 0, 255)
        flat = np.zeros(albedo.shape[1:], np.float32)
        return cls(albedo, albedo * np.float32(0.25), flat, np.full_like(flat, gloss), np.ones_like(flat))

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.albedo.shape[1]

    @property
    def unit(self) -> float:
        """Pixels of one unit."""
        return self.size / UNITS

    def copy(self) -> Canvas:
        """A canvas that can be changed without changing this one."""
        arrays = ("albedo", "background", "height", "gloss", "part")
        return replace(self, **{name: getattr(self, name).copy() for name in arrays})

    def assembled(
        self, components: Sequence[Component] | None = None, prints: Sequence[Component] | None = None
    ) -> Canvas:
        """A copy with its components and prints (or the given ones instead) drawn."""
        whole = self.copy()
        for thing in (
            *(self.components if components is None else components),
            *(self.prints if prints is None else prints),
        ):
            thing.draw(whole, thing.x, thing.y, thing.angle)
        whole.components, whole.prints = [], []
        np.clip(whole.albedo, 0, 255, out=whole.albedo)
        return whole

    # Shapes

    def _tile(self, outlines: Sequence[NDArray], margin: float = 0.0) -> tuple[slice, slice, NDArray[np.uint8]]:
        """The rectangle around outlines in pixels, and an empty picture of it."""
        both = np.concatenate(outlines)
        (left, top), (right, bottom) = both.min(0) - margin, both.max(0) + margin
        x0, y0 = (min(max(int(v) - 2, 0), self.size - 1) for v in (left, top))
        x1 = min(max(int(right) + 3, x0 + 1), self.size)
        y1 = min(max(int(bottom) + 3, y0 + 1), self.size)
        return slice(y0, y1), slice(x0, x1), np.zeros((y1 - y0, x1 - x0), np.uint8)

    def polygon(self, *outlines: ArrayLike) -> Region:
        """The inside of closed lines, each of shape (N, 2); where two overlap is outside again: a hole."""
        pixels = [np.asarray(o, np.float64) * self.unit for o in outlines]
        rows, cols, tile = self._tile(pixels)
        corner = (cols.start, rows.start)
        cv2.fillPoly(tile, [np.rint((p - corner) * 16).astype(np.int32) for p in pixels], 255, cv2.LINE_AA, 4)
        return Region(rows, cols, tile * np.float32(1 / 255))

    def disc(self, x: float, y: float, radius: float, inner: float = 0.0) -> Region:
        """A disc, or a ring where `inner` is above 0."""
        outline = circle(x, y, radius)
        return self.polygon(outline, circle(x, y, inner)) if inner > 0 else self.polygon(outline)

    def ellipse(self, x: float, y: float, a: float, b: float, angle: float = 0.0) -> Region:
        """An ellipse with half axes `a` and `b`."""
        return self.polygon(turned(circle(0, 0, 1) * (a, b), angle, x, y))

    def box(self, x: float, y: float, w: float, h: float, angle: float = 0.0, radius: float = 0.0) -> Region:
        """A rectangle around its centre with rounded corners."""
        return self.polygon(turned(rounded_box(w, h, radius), angle, x, y))

    def stroke(self, points: ArrayLike, width: float) -> Region:
        """A line through points of shape (N, 2), or several lines of shape (L, N, 2)."""
        line = np.asarray(points, np.float64) * self.unit
        lines = [line] if line.ndim == 2 else list(line)
        pixels = width * self.unit
        rows, cols, tile = self._tile(lines, pixels)
        fixed = [np.rint((p - (cols.start, rows.start)) * 16).astype(np.int32) for p in lines]
        cv2.polylines(tile, fixed, False, 255, max(1, round(pixels)), cv2.LINE_AA, 4)
        return Region(rows, cols, tile * np.float32(min(1.0, pixels) / 255))

    def text(self, words: str, x: float, y: float, height: float, weight: float = 1.5) -> Region:
        """Upright letters around a centre."""
        scale = height * self.unit / 21
        thickness = max(1, round(weight * self.unit))
        (w, h), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        centre = np.array([x, y]) * self.unit
        half = np.array([w, h]) / 2 + thickness
        rows, cols, tile = self._tile([np.stack([centre - half, centre + half])])
        origin = (round(centre[0] - w / 2) - cols.start, round(centre[1] + h / 2) - rows.start)
        cv2.putText(tile, words, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
        return Region(rows, cols, tile * np.float32(1 / 255))

    # What is done with a shape

    def paint(self, region: Region, colour: ArrayLike, opacity: float = 1.0) -> None:
        """Mix a colour of shape (3,), or colours of shape (3, S, S), into the region."""
        view = self.albedo[:, region.rows, region.cols]
        view += region.alpha * np.float32(opacity) * (self._of(colour, region) - view)

    def tint(self, region: Region, factor: ArrayLike) -> None:
        """Multiply the region's colours by a factor, by one a channel, or by factors of shape (S, S)."""
        view = self.albedo[:, region.rows, region.cols]
        view *= 1 + region.alpha * (self._of(factor, region) - 1)

    @staticmethod
    def _of(values: ArrayLike, region: Region) -> Floats:
        values = np.asarray(values, np.float32)
        if values.ndim == 1:
            return values[:, None, None]
        return values[..., region.rows, region.cols] if values.ndim > 1 else values

    def lift(self, region: Region, amount: float, bevel: float = 3.0) -> None:
        """Raise (or, below 0, sink) the region by `amount` units, over a round edge `bevel` units wide."""
        inside = (region.alpha > 0.5).astype(np.uint8)
        if inside.all():
            profile: Floats = np.ones(inside.shape, np.float32)
        else:
            distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
            profile = np.sin(np.minimum(distance / np.float32(bevel * self.unit), 1) * np.float32(np.pi / 2))
        self.height[region.rows, region.cols] += profile * np.float32(amount * self.unit)

    def polish(self, region: Region, gloss: float) -> None:
        """Set the region's gloss."""
        view = self.gloss[region.rows, region.cols]
        view += region.alpha * (np.float32(gloss) - view)

    def place(
        self, region: Region, colour: ArrayLike, *, lift: float = 3, bevel: float = 3, gloss: float = 0.0
    ) -> None:
        """Put a piece of the part there: colour, relief and gloss at once."""
        self.paint(region, colour)
        self.lift(region, lift, bevel)
        self.polish(region, gloss)
        view = self.part[region.rows, region.cols]
        np.maximum(view, region.alpha, out=view)

    def cut(self, region: Region) -> None:
        """Take the part away there, so that its background shows."""
        self.paint(region, self.background)
        self.polish(region, 0)
        keep = 1 - region.alpha
        self.height[region.rows, region.cols] *= keep
        self.part[region.rows, region.cols] *= keep


# Outlines

_ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_UNIT_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)


def circle(x: float, y: float, radius: float) -> NDArray:
    """Points of shape (40, 2) on a circle."""
    return _UNIT_CIRCLE * radius + (x, y)


def turned(points: ArrayLike, degrees: float, x: float = 0.0, y: float = 0.0) -> NDArray:
    """Points of shape (N, 2), turned around the origin, then moved there."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(points, np.float64) @ np.array([[c, s], [-s, c]]) + (x, y)


def spoke(length: float, degrees: float, x: float = 160.0, y: float = 160.0) -> tuple[float, float]:
    """The point that far and in that direction from a point, by default from the middle of the image."""
    return x + length * float(np.cos(np.radians(degrees))), y + length * float(np.sin(np.radians(degrees)))


def rounded_box(w: float, h: float, radius: float) -> NDArray:
    """The outline of a rectangle around the origin."""
    radius = min(radius, w / 2, h / 2)
    if radius <= 0:
        return np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2
    corner = circle(0, 0, radius).reshape(4, 10, 2)
    inner = np.array([[w / 2 - radius, h / 2 - radius]])
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    return np.concatenate([corner[i] + inner * signs[i] for i in range(4)])


def wobbly(
    rng: Rng, x: float, y: float, radius: float, roughness: float, *, waves: int = 6, points: int = 64
) -> NDArray:
    """A closed irregular outline of shape (points, 2): a circle whose radius swings by `roughness` of itself."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    k = np.arange(2, 2 + waves)
    swing = rng.normal(0, 1 / k, (2, waves))
    turns = np.outer(angles, k)
    r = 1 + roughness * (np.cos(turns) @ swing[0] + np.sin(turns) @ swing[1])
    r = radius * np.minimum(np.maximum(r, 0.25), 2)
    return np.stack([x + r * np.cos(angles), y + r * np.sin(angles)], 1)


# Colours and noise


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """A colour from hue (any real number, of period 1), saturation and value in [0, 1]; RGB in [0, 255]."""
    clip = (float(np.clip(saturation, 0, 1)), float(np.clip(value, 0, 1)))
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, *clip), np.float32) * 255


def any_colour(rng: Rng, value: tuple[float, float] = (0.15, 0.95)) -> Floats:
    """A random colour; nearly half are grey or nearly so, as most industrial parts are."""
    saturation = rng.uniform(0, 0.12) if rng.random() < 0.45 else rng.random()
    return hsv(rng.random(), saturation, rng.uniform(*value))


def noise(rng: Rng, size: int, cell: float, cell_y: float | None = None) -> Floats:
    """Smooth noise of shape (size, size), mean about 0 and standard deviation about 1.

    Args:
        rng: Source of randomness.
        size: Side in pixels.
        cell: Distance between independent values along x, in units.
        cell_y: The same along y; `cell` by default.
    """
    nx, ny = (max(2, round(UNITS / c) + 1) for c in (cell, cell_y or cell))
    # Finer than the pixels there is nothing to interpolate.
    nx, ny = min(nx, size), min(ny, size)
    grid = rng.standard_normal((ny, nx), np.float32)
    if (ny, nx) == (size, size):
        return grid
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(1.3)


def clouds(rng: Rng, size: int, cell: float, octaves: int = 3, cell_y: float | None = None) -> Floats:
    """Noise whose octaves halve in size and strength; mean about 0, standard deviation about 1."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        fine = 2.0**octave
        total += noise(rng, size, cell / fine, cell_y / fine if cell_y else None) * np.float32(0.55**octave)
    return total / np.float32(np.sqrt(sum(0.55 ** (2 * o) for o in range(octaves))))


@lru_cache(4)
def grid(size: int) -> tuple[Floats, Floats]:
    """The units' x and y at each pixel, each of shape (size, size), not to be written to."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(UNITS / size)
    x, y = np.meshgrid(axis, axis)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def polar(size: int, x: float, y: float) -> tuple[Floats, Floats]:
    """Distance from a point in units, and direction from it in [0, 2 pi), each of shape (size, size)."""
    gx, gy = grid(size)
    distance, angle = cv2.cartToPolar(gx - np.float32(x), gy - np.float32(y))
    return distance, angle


def coloured(colour: ArrayLike, factor: Floats) -> Floats:
    """Colours of shape (3, S, S): one colour, brighter and darker by factors of shape (S, S)."""
    return np.asarray(colour, np.float32)[:, None, None] * factor.astype(np.float32, copy=False)


def blended(first: ArrayLike, second: ArrayLike, mix: Floats) -> Floats:
    """Colours of shape (3, S, S): from the first (at 0) to the second (at 1) by `mix` of shape (S, S)."""
    a, b = (np.asarray(c, np.float32)[:, None, None] for c in (first, second))
    return a + (b - a) * mix.astype(np.float32, copy=False)


# Light


def develop(canvas: Canvas, direction: float, *, slant: float = 0.75, shadow: float = 0.4) -> Floats:
    """The canvas under a lamp.

    Args:
        canvas: What is lit.
        direction: Where the light comes from, in degrees, 0 from the right, 90 from below.
        slant: Strength of the relief, 0 for light from straight above.
        shadow: Darkness of the shadow that the part throws on its background, in [0, 1].

    Returns:
        Colours of shape (3, S, S), in [0, 255].
    """
    lx, ly = float(np.cos(np.radians(direction))), float(np.sin(np.radians(direction)))
    relief = cv2.GaussianBlur(canvas.height, (0, 0), 0.7 * canvas.unit)
    gx = cv2.Scharr(relief, cv2.CV_32F, 1, 0, scale=1 / 32)
    gy = cv2.Scharr(relief, cv2.CV_32F, 0, 1, scale=1 / 32)
    # The slope towards the light, squeezed so that steep edges do not burn out.
    facing = (gx * -lx - gy * ly) / np.sqrt(1 + gx * gx + gy * gy)
    light = np.minimum(np.maximum(1 + slant * facing, 0.25), 1.7)
    if shadow > 0 and canvas.part.min() < 0.99:
        light *= 1 - shadow * _thrown(canvas, lx, ly) * (1 - canvas.part)
    image = canvas.albedo * light
    if canvas.gloss.any():
        image += canvas.gloss * (330 * np.maximum(facing - 0.35, 0))
    np.maximum(image, 0, out=image)
    return np.minimum(image, 255, out=image)


def _thrown(canvas: Canvas, lx: float, ly: float) -> Floats:
    """The shadow of the part, of shape (S, S), in [0, 1]."""
    small = cv2.resize(canvas.part, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    step = 9 * canvas.unit / 4
    move = np.array([[1, 0, -lx * step], [0, 1, -ly * step]], np.float32)
    small = cv2.warpAffine(small, move, small.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    small = cv2.GaussianBlur(small, (0, 0), 1.2 * canvas.unit)
    return cv2.resize(small, canvas.part.shape[::-1], interpolation=cv2.INTER_LINEAR)
