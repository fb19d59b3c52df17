"""The sheet that every category and every defect is drawn on: colour, relief and gloss, lit only when photographed.

Coordinates and lengths are in units of 1/320 of the image's side, x to the right and y downwards, so that a drawing
looks the same at every size.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
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


@dataclass(frozen=True)
class Component:
    """One thing that is put on a part, and can therefore be missing, extra or misplaced.

    Attributes:
        draw: Draws it: `draw(canvas, x, y, angle)`, the angle in degrees. It must look the same at every call.
        x: Centre, in units.
        y: Centre, in units.
        radius: Half of its extent, in units.
        angle: Turn, in degrees.
    """

    draw: Callable[[Canvas, float, float, float], None]
    x: float
    y: float
    radius: float
    angle: float = 0.0


@dataclass
class Canvas:
    """A part in front of its background, before any light falls on it.

    Attributes:
        albedo: Colours of shape (S, S, 3), RGB in [0, 255].
        background: What is seen where the part is cut away, of shape (S, S, 3).
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
    def blank(cls, background: Floats, *, filled: bool = False) -> Canvas:
        """A canvas that shows its background only; `filled`: the background is the part itself, a surface."""
        size = background.shape[0]
        flat = np.zeros((size, size), np.float32)
        part = np.ones_like(flat) if filled else flat.copy()
        behind = background * np.float32(0.25) if filled else background
        return cls(background.copy(), behind, flat.copy(), flat.copy(), part)

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.albedo.shape[0]

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
        for thing in (*(self.components if components is None else components),
                      *(self.prints if prints is None else prints)):
            thing.draw(whole, thing.x, thing.y, thing.angle)
        return whole

    # Shapes

    def _rectangle(self, low: NDArray, high: NDArray) -> tuple[slice, slice]:
        low = np.clip(np.floor(low).astype(int) - 2, 0, self.size - 1)
        high = np.clip(np.ceil(high).astype(int) + 3, low + 1, self.size)
        return slice(low[1], high[1]), slice(low[0], high[0])

    def polygon(self, points: ArrayLike, *holes: ArrayLike) -> Region:
        """The inside of a closed line through `points` of shape (N, 2), without its holes."""
        outlines = [np.asarray(p, np.float64) * self.unit for p in (points, *holes)]
        rows, cols = self._rectangle(outlines[0].min(0), outlines[0].max(0))
        tile = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        corner = (cols.start, rows.start)
        fixed = [np.round((p - corner) * 16).astype(np.int32) for p in outlines]
        cv2.fillPoly(tile, fixed, 255, cv2.LINE_AA, 4)
        return Region(rows, cols, tile.astype(np.float32) / 255)

    def disc(self, x: float, y: float, radius: float, inner: float = 0.0) -> Region:
        """A disc, or a ring where `inner` is above 0."""
        outline = circle(x, y, radius)
        return self.polygon(outline, circle(x, y, inner)) if inner > 0 else self.polygon(outline)

    def ellipse(self, x: float, y: float, a: float, b: float, angle: float = 0.0) -> Region:
        """An ellipse with half axes `a` and `b`."""
        return self.polygon(turned(circle(0, 0, 1) * (a, b), angle) + (x, y))

    def box(self, x: float, y: float, w: float, h: float, angle: float = 0.0, radius: float = 0.0) -> Region:
        """A rectangle around its centre with rounded corners."""
        return self.polygon(turned(rounded_box(w, h, radius), angle) + (x, y))

    def stroke(self, points: ArrayLike, width: float, *, closed: bool = False) -> Region:
        """A line through `points` of shape (N, 2)."""
        line = np.asarray(points, np.float64) * self.unit
        pixels = width * self.unit
        rows, cols = self._rectangle(line.min(0) - pixels, line.max(0) + pixels)
        tile = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        fixed = np.round((line - (cols.start, rows.start)) * 16).astype(np.int32)
        cv2.polylines(tile, [fixed], closed, 255, max(1, round(pixels)), cv2.LINE_AA, 4)
        return Region(rows, cols, tile.astype(np.float32) * (min(1.0, pixels) / 255))

    def text(self, words: str, x: float, y: float, height: float, weight: float = 1.5) -> Region:
        """Upright letters around a centre."""
        scale = height * self.unit / 21
        thickness = max(1, round(weight * self.unit))
        (w, h), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        centre = np.array([x, y]) * self.unit
        half = np.array([w, h]) / 2 + thickness
        rows, cols = self._rectangle(centre - half, centre + half)
        tile = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        origin = (round(centre[0] - w / 2) - cols.start, round(centre[1] + h / 2) - rows.start)
        cv2.putText(tile, words, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
        return Region(rows, cols, tile.astype(np.float32) / 255)

    def everywhere(self) -> Region:
        """The whole canvas."""
        return Region(slice(0, self.size), slice(0, self.size), np.ones((self.size, self.size), np.float32))

    # What is done with a shape

    def paint(self, region: Region, colour: ArrayLike, opacity: float = 1.0) -> None:
        """Mix a colour, or colours of shape (S, S, 3), into the region."""
        colour = np.asarray(colour, np.float32)
        if colour.ndim == 3:
            colour = colour[region.rows, region.cols]
        view = self.albedo[region.rows, region.cols]
        view += (region.alpha * np.float32(opacity))[..., None] * (colour - view)

    def tint(self, region: Region, factor: ArrayLike) -> None:
        """Multiply the region's colours by a factor, by one a channel, or by factors of shape (S, S)."""
        factor = np.asarray(factor, np.float32)
        if factor.ndim == 2:
            factor = factor[region.rows, region.cols, None]
        view = self.albedo[region.rows, region.cols]
        view *= 1 + region.alpha[..., None] * (factor - 1)

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

    def place(self, region: Region, colour: ArrayLike, *, lift: float = 3, bevel: float = 3, gloss: float = 0) -> None:
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


def circle(x: float, y: float, radius: float) -> NDArray:
    """Points of shape (40, 2) on a circle."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)


def turned(points: ArrayLike, degrees: float) -> NDArray:
    """Points of shape (N, 2), turned around the origin."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(points, np.float64) @ np.array([[c, s], [-s, c]])


def rounded_box(w: float, h: float, radius: float) -> NDArray:
    """The outline of a rectangle around the origin."""
    radius = min(radius, w / 2, h / 2)
    if radius <= 0:
        return np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2
    corner = circle(0, 0, radius).reshape(4, 10, 2)
    inner = np.array([[w / 2 - radius, h / 2 - radius]])
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    return np.concatenate([corner[i] + inner * signs[i] for i in range(4)])


def wobbly(rng: Rng, x: float, y: float, radius: float, roughness: float, waves: int = 6) -> NDArray:
    """A closed irregular outline of shape (64, 2): a circle whose radius swings by `roughness` of itself."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    k = np.arange(2, 2 + waves)
    swing = rng.normal(0, 1 / k, (2, waves))
    r = 1 + roughness * (np.cos(np.outer(angles, k)) @ swing[0] + np.sin(np.outer(angles, k)) @ swing[1])
    r = radius * np.clip(r, 0.25, 2)
    return np.stack([x + r * np.cos(angles), y + r * np.sin(angles)], 1)


# Colours and noise


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """A colour from hue (any real number, of period 1), saturation and value in [0, 1]; RGB in [0, 255]."""
    clip = (float(np.clip(saturation, 0, 1)), float(np.clip(value, 0, 1)))
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, *clip), np.float32) * 255


def any_colour(rng: Rng, value: tuple[float, float] = (0.15, 0.95)) -> Floats:
    """A random colour, pale ones more often than loud ones."""
    return hsv(rng.random(), rng.random() ** 1.7, rng.uniform(*value))


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


def grid(size: int) -> tuple[Floats, Floats]:
    """The units' x and y at each pixel, each of shape (size, size)."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * np.float32(UNITS / size)).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def coloured(colour: ArrayLike, factor: Floats) -> Floats:
    """Colours of shape (S, S, 3): one colour, brighter and darker by factors of shape (S, S)."""
    return np.asarray(colour, np.float32) * factor[..., None]


# Light


def develop(canvas: Canvas, direction: float, *, slant: float = 0.75, shadow: float = 0.4) -> Floats:
    """The canvas under a lamp.

    Args:
        canvas: What is lit.
        direction: Where the light comes from, in degrees, 0 from the right, 90 from below.
        slant: Strength of the relief, 0 for light from straight above.
        shadow: Darkness of the shadow that the part throws on its background, in [0, 1].

    Returns:
        Colours of shape (S, S, 3), in [0, 255].
    """
    lx, ly = np.cos(np.radians(direction)), np.sin(np.radians(direction))
    relief = cv2.GaussianBlur(canvas.height, (0, 0), 0.7 * canvas.unit)
    gx = cv2.Scharr(relief, cv2.CV_32F, 1, 0, scale=1 / 32)
    gy = cv2.Scharr(relief, cv2.CV_32F, 0, 1, scale=1 / 32)
    # The slope towards the light, squeezed so that steep edges do not burn out.
    slope = -(gx * np.float32(lx) + gy * np.float32(ly))
    facing = slope / np.sqrt(1 + gx * gx + gy * gy)
    image = canvas.albedo * np.clip(1 + np.float32(slant) * facing, 0.25, 1.7)[..., None]
    if canvas.gloss.any():
        glint = np.clip(facing - np.float32(0.35), 0, 1)
        image += (canvas.gloss * glint * np.float32(330))[..., None]
    if shadow > 0 and canvas.part.min() < 0.99:
        half = cv2.resize(canvas.part, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        step = 9 * canvas.unit / 4
        move = np.array([[1, 0, -lx * step], [0, 1, -ly * step]], np.float32)
        thrown = cv2.warpAffine(half, move, half.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        thrown = cv2.GaussianBlur(thrown, (0, 0), 1.2 * canvas.unit)
        thrown = cv2.resize(thrown, canvas.part.shape[::-1], interpolation=cv2.INTER_LINEAR)
        image *= (1 - np.float32(shadow) * thrown * (1 - canvas.part))[..., None]
    return np.clip(image, 0, 255, out=image)
