"""The `textures` family: surfaces that fill the picture, for testing and GRPO. None is drawn for pretraining."""

from __future__ import annotations

import cv2
import numpy as np

from lriad.data.synthetic.canvas import (
    UNITS,
    Canvas,
    Rng,
    blended,
    circle,
    clouds,
    coloured,
    grid,
    hsv,
    noise,
    turned,
)
from lriad.data.synthetic.materials import brushed, grainy


def woven_fabric(rng: Rng, size: int) -> Canvas:
    """Plain weave of thick yarn."""
    x, y = grid(size)
    pitch = rng.uniform(8.5, 10.5)
    wobble = 0.5 * noise(rng, size, 60)
    u, v = (x + wobble) * np.pi / pitch, (y + wobble.T) * np.pi / pitch
    warp, weft = np.abs(np.sin(u)) ** 0.6, np.abs(np.sin(v)) ** 0.6
    over = np.sin(u / 1 + np.pi / 2) * np.sin(v + np.pi / 2) > 0
    height = np.where(over, warp, weft)
    base = hsv(rng.normal(0.1, 0.01), rng.uniform(0.2, 0.3), rng.uniform(0.62, 0.74))
    fibre = np.where(over, noise(rng, size, 1.3, 9), noise(rng, size, 9, 1.3))
    tone = (0.55 + 0.45 * height) * (1 + 0.05 * fibre) * np.where(over, 1.0, 0.93)
    c = Canvas.surface(coloured(base, tone.astype(np.float32)))
    c.height += (2.2 * c.unit * height).astype(np.float32)
    return c


def brushed_metal(rng: Rng, size: int) -> Canvas:
    """Sheet steel with brush marks along x."""
    steel = np.full(3, rng.uniform(140, 170)) * (0.99, 1.0, 1.02)
    band = 1 + 0.06 * noise(rng, size, 400, 120)
    return Canvas.surface(coloured(steel, brushed(rng, size, 0.06) * band), 0.5)


def wood_board(rng: Rng, size: int) -> Canvas:
    """Planed pine, its grain along y."""
    x, _ = grid(size)
    bend = 16 * noise(rng, size, 300, 500) + 3 * noise(rng, size, 60, 240)
    rings = np.sin((x + bend) * 2 * np.pi / rng.uniform(24, 34) + 1.2 * noise(rng, size, 30, 600))
    late = np.clip(rings, 0, 1) ** 3
    light, dark = hsv(0.095, rng.uniform(0.38, 0.48), 0.82), hsv(0.07, 0.6, rng.uniform(0.5, 0.6))
    pores = 0.05 * noise(rng, size, 1.2, 40) + 0.03 * noise(rng, size, 3, 90)
    return Canvas.surface(blended(light, dark, 0.65 * late) * (1 + pores), 0.1)


def leather(rng: Rng, size: int) -> Canvas:
    """Grained leather: small pebbles with creases between them."""
    pebbles = noise(rng, size, 6.5) + 0.7 * noise(rng, size, 4.5)
    ridge = 1 - np.exp(-(pebbles**2) * 3)
    brown = hsv(rng.normal(0.06, 0.005), rng.uniform(0.5, 0.62), rng.uniform(0.42, 0.54))
    c = Canvas.surface(coloured(brown, (0.8 + 0.24 * ridge + 0.03 * clouds(rng, size, 80, 2)).astype(np.float32)), 0.35)
    c.height += (1.7 * c.unit * ridge).astype(np.float32)
    return c


def ceramic_tile(rng: Rng, size: int) -> Canvas:
    """Glazed wall tiles with grout between them."""
    pitch, offset = rng.uniform(100, 112), rng.uniform(0, 100, 2)
    glaze = hsv(rng.normal(0.52, 0.01), rng.uniform(0.12, 0.2), rng.uniform(0.82, 0.9))
    c = Canvas.blank(coloured(np.full(3, rng.uniform(120, 145)), grainy(rng, size, 0.08)))
    for i in range(-1, 5):
        for j in range(-1, 5):
            x, y = offset[0] + i * pitch, offset[1] + j * pitch
            if not (-pitch / 2 < x < UNITS + pitch / 2 and -pitch / 2 < y < UNITS + pitch / 2):
                continue
            tile = c.box(x, y, pitch - 7, pitch - 7, rng.normal(0, 0.3), 3)
            c.place(tile, glaze * rng.uniform(0.97, 1.02), lift=5, bevel=6, gloss=0.7)
    c.albedo *= 1 + 0.02 * clouds(rng, size, 60, 2)
    return c


def carpet(rng: Rng, size: int) -> Canvas:
    """Cut pile in two close tones."""
    tuft = clouds(rng, size, 5, 3)
    a = hsv(rng.normal(0.6, 0.01), rng.uniform(0.2, 0.3), rng.uniform(0.45, 0.55))
    mix = 1 / (1 + np.exp(-3 * noise(rng, size, 4)))
    c = Canvas.surface(blended(a, a * 0.62, mix) * (1 + 0.1 * tuft))
    c.height += (1.3 * c.unit * tuft).astype(np.float32)
    return c


def perforated_mesh(rng: Rng, size: int) -> Canvas:
    """Sheet metal with round holes in staggered rows."""
    pitch = rng.uniform(27, 31)
    c = Canvas.surface(coloured(np.full(3, rng.uniform(150, 178)), brushed(rng, size, 0.04)), 0.4)
    c.background[:] = rng.uniform(18, 34)
    radius, turn = pitch * rng.uniform(0.29, 0.33), rng.uniform(-3, 3)
    rows = np.arange(-8, 9)
    lattice = [((col + 0.5 * (row % 2)) * pitch, row * pitch * 0.866) for row in rows for col in rows]
    centres = turned(lattice, turn, 160, 160)
    centres = centres[(np.abs(centres - 160) < 160 + radius).all(1)]
    c.lift(c.polygon(*(circle(x, y, radius + 1.5)[::2] for x, y in centres)), -2, 2)
    c.cut(c.polygon(*(circle(x, y, radius)[::2] for x, y in centres)))
    c.part[:] = 1  # A punched hole is no place where the sheet is broken.
    return c


def terrazzo(rng: Rng, size: int) -> Canvas:
    """Polished stone chips in cement."""
    c = Canvas.surface(coloured(hsv(0.1, 0.06, rng.uniform(0.78, 0.86)), grainy(rng, size, 0.02)), 0.3)
    stones = [hsv(0.07, 0.35, 0.55), hsv(0.1, 0.1, 0.5), hsv(0.05, 0.45, 0.7), hsv(0.12, 0.1, 0.95)]
    corners = circle(0, 0, 1)[::5]
    for stone in stones * 2:
        centres, radii = rng.uniform(-5, UNITS + 5, (24, 1, 2)), rng.uniform(3, 10, (24, 1, 1))
        outlines = centres + corners * radii * rng.uniform(0.6, 1.15, (24, 8, 1))
        c.paint(c.polygon(*outlines), stone * rng.uniform(0.85, 1.1))
    return c


def knitted_wool(rng: Rng, size: int) -> Canvas:
    """Stocking stitch: columns of V-shaped loops."""
    x, y = grid(size)
    wale, course = rng.uniform(19, 23), rng.uniform(13, 16)
    x = x + 0.8 * noise(rng, size, 70)
    y = y + 0.8 * noise(rng, size, 70)
    across = (x / wale) % 1 - 0.5
    along = (y / course + 1.1 * np.abs(across) * 2 * 0.5) % 1
    loop = np.sin(np.pi * along) ** 0.7 * np.cos(np.pi * (np.abs(across) - 0.25) * 1.7) ** 0.7
    loop = np.nan_to_num(loop)
    wool = hsv(rng.normal(0.02, 0.01), rng.uniform(0.45, 0.55), rng.uniform(0.6, 0.7))
    c = Canvas.surface(coloured(wool, ((0.4 + 0.6 * loop) * (1 + 0.07 * clouds(rng, size, 3, 2))).astype(np.float32)))
    c.height += (3.2 * c.unit * loop).astype(np.float32)
    return c


def kraft_paper(rng: Rng, size: int) -> Canvas:
    """Brown paper with short fibres."""
    brown = hsv(rng.normal(0.09, 0.004), rng.uniform(0.36, 0.42), rng.uniform(0.68, 0.76))
    c = Canvas.surface(coloured(brown, (1 + 0.025 * clouds(rng, size, 20, 4)).astype(np.float32)))
    fibres = np.zeros((size, size), np.uint8)
    start = rng.uniform(0, size, (900, 2))
    end = start + rng.normal(0, 4 * c.unit, (900, 2))
    for p, q in zip(start.astype(int).tolist(), end.astype(int).tolist(), strict=True):
        cv2.line(fibres, p, q, 255, 1, cv2.LINE_AA)
    c.albedo *= 1 - fibres * np.float32(0.09 / 255)
    c.height += 0.25 * c.unit * clouds(rng, size, 6, 2)
    return c
