"""What parts are made of and lie on: factor maps around 1, colours and backdrops, shared by all families."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lriad.data.synthetic.canvas import UNITS, Floats, Rng, any_colour, clouds, coloured, noise, polar


def brushed(rng: Rng, size: int, strength: float = 0.07, *, upright: bool = False) -> Floats:
    """Brush marks along x (or y), of shape (size, size), around 1."""
    marks = noise(rng, size, 110, 1.2) + 0.6 * noise(rng, size, 160, 3)
    if upright:
        marks = marks.T
    return np.clip(1 + strength * marks, 0.3, 1.7).astype(np.float32)


def lathe(rng: Rng, size: int, x: float, y: float, strength: float = 0.12) -> Floats:
    """The reflections on a face turned on a lathe: two or four bright fans around its centre, and fine rings."""
    distance, angle = polar(size, x, y)
    fans, start = int(rng.integers(1, 3)) * 2, rng.uniform(0, 2 * np.pi)
    rings = rng.standard_normal(512, np.float32)[(distance * np.float32(0.7)).astype(np.int32)]
    return 1 + strength * np.cos(fans * angle + np.float32(start)) + 0.25 * strength * rings


def grainy(rng: Rng, size: int, strength: float = 0.05, cell: float = 2.0) -> Floats:
    """Fine irregular grain around 1."""
    return np.clip(1 + strength * clouds(rng, size, cell * 4, 3), 0.3, 1.7).astype(np.float32)


def backdrop(rng: Rng, size: int, colour: ArrayLike | None = None) -> Floats:
    """A plain table, conveyor or light box, of shape (3, size, size); any of them where no colour is given."""
    if colour is None:
        colour = [
            lambda: np.full(3, rng.uniform(225, 250)),
            lambda: np.full(3, rng.uniform(8, 45)),
            lambda: np.full(3, rng.uniform(60, 200)),
            lambda: any_colour(rng),
        ][int(rng.integers(4))]()
    pattern = int(rng.integers(3))
    if pattern == 0:
        factor = np.ones((size, size), np.float32)
    elif pattern == 1:
        factor = grainy(rng, size, rng.uniform(0.01, 0.04), rng.uniform(1, 4))
    else:
        factor = brushed(rng, size, rng.uniform(0.01, 0.04), upright=bool(rng.random() < 0.5))
    return np.clip(coloured(colour, factor), 0, 255)


def finish(rng: Rng, size: int) -> Floats:
    """A random machining or moulding finish around 1."""
    kind = int(rng.integers(5))
    if kind == 0:
        return np.ones((size, size), np.float32)
    if kind == 1:
        return brushed(rng, size, rng.uniform(0.02, 0.09), upright=bool(rng.random() < 0.5))
    if kind == 2:
        return lathe(rng, size, 160 + rng.normal(0, 10), 160 + rng.normal(0, 10), rng.uniform(0.04, 0.15))
    return grainy(rng, size, rng.uniform(0.01, 0.08), rng.uniform(1, 6))


def against(rng: Rng, behind: Floats) -> Floats:
    """A colour that can be told from what is behind it."""
    away = float(behind.mean())
    for _ in range(20):
        colour = any_colour(rng)
        if abs(float(colour.mean()) - away) > 45:
            break
    return colour


def jittered_grid(
    rng: Rng, columns: int, rows: int, pitch_x: float, pitch_y: float, jitter: float = 0.0
) -> list[tuple[float, float]]:
    """Centres of a grid in the middle of the canvas."""
    x0, y0 = UNITS / 2 - pitch_x * (columns - 1) / 2, UNITS / 2 - pitch_y * (rows - 1) / 2
    return [
        (x0 + c * pitch_x + rng.normal(0, jitter), y0 + r * pitch_y + rng.normal(0, jitter))
        for r in range(rows)
        for c in range(columns)
    ]
