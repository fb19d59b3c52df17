"""The `objects` family: parts on a background, for testing and GRPO. None is drawn for pretraining."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lriad.data.synthetic.canvas import (
    Canvas,
    Component,
    Rng,
    Stamp,
    circle,
    clouds,
    coloured,
    grid,
    hsv,
    polar,
    rounded_box,
    spoke,
    turned,
)
from lriad.data.synthetic.materials import backdrop, brushed, grainy, jittered_grid, lathe


def hex_nut(rng: Rng, size: int) -> Canvas:
    """A steel nut, seen from above."""
    c = Canvas.blank(backdrop(rng, size, np.full(3, rng.uniform(25, 60))))
    r, turn = rng.uniform(105, 122), rng.uniform(0, 60)
    angles = np.radians(np.arange(0, 360, 60) + turn)
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * r + 160
    steel = hsv(0.6, rng.uniform(0.0, 0.08), rng.uniform(0.58, 0.72))
    c.place(c.polygon(corners), coloured(steel, lathe(rng, size, 160, 160)), lift=7, bevel=9, gloss=0.4)
    face = c.disc(160, 160, r * 0.84)
    c.lift(face, 2, 6)
    bore = r * rng.uniform(0.5, 0.56)
    c.lift(c.disc(160, 160, bore + 9), -4, 8)
    for i in range(3):
        c.tint(c.disc(160, 160, bore + 7 - i * 3.2, bore + 5.5 - i * 3.2), 0.72)
    c.cut(c.disc(160, 160, bore))
    return c


def gear(rng: Rng, size: int) -> Canvas:
    """A spur gear with lightening holes; its teeth are components."""
    c = Canvas.blank(backdrop(rng, size, np.full(3, rng.uniform(200, 235))))
    teeth, r = int(rng.integers(17, 21)), rng.uniform(98, 108)
    brass = hsv(0.11, rng.uniform(0.35, 0.5), rng.uniform(0.6, 0.75))
    face = coloured(brass, lathe(rng, size, 160, 160, 0.09) * grainy(rng, size, 0.03))
    c.place(c.disc(160, 160, r), face, lift=5, bevel=4, gloss=0.35)
    c.lift(c.disc(160, 160, r * 0.82, r * 0.36), -2.5, 4)
    turn = rng.uniform(0, 360)
    for i in range(5):
        x, y = spoke(r * 0.6, turn + 72 * i)
        c.cut(c.disc(x, y, r * 0.15))
    c.cut(c.disc(160, 160, r * 0.2))
    w = 2 * np.pi * r / teeth
    tooth = np.array([[-6, -w * 0.36], [9, -w * 0.27], [17, -w * 0.15], [17, w * 0.15], [9, w * 0.27], [-6, w * 0.36]])

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.polygon(turned(tooth, angle, x, y)), face, lift=5, bevel=3, gloss=0.35)

    for i in range(teeth):
        angle = turn + 360 * i / teeth
        x, y = spoke(r, angle)
        c.components.append(Component(draw, x, y, 13, angle))
    return c


def bottle_cap(rng: Rng, size: int) -> Canvas:
    """A printed crown cap with a crimped skirt."""
    c = Canvas.blank(backdrop(rng, size, hsv(0.58, 0.08, rng.uniform(0.72, 0.85))))
    r, crimps, phase = rng.uniform(108, 118), 21, rng.uniform(0, 6.28)
    a = np.linspace(0, 2 * np.pi, 252, endpoint=False)
    skirt = (r * (1 + 0.045 * np.cos(crimps * a + phase)))[:, None] * np.stack([np.cos(a), np.sin(a)], 1) + 160
    red = hsv(rng.normal(0.99, 0.01), rng.uniform(0.75, 0.88), rng.uniform(0.62, 0.75))
    c.place(c.polygon(skirt), red * 0.86, lift=4, bevel=5, gloss=0.5)
    c.tint(c.polygon(skirt), 1 + 0.16 * np.cos(crimps * polar(size, 160, 160)[1] + phase + 1))
    c.paint(c.disc(160, 160, r * 0.86), red * 0.97)
    c.lift(c.disc(160, 160, r * 0.86), 6, 12)
    c.polish(c.disc(160, 160, r * 0.86), 0.6)
    cream = hsv(0.12, 0.15, 0.94)

    def band(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.paint(canvas.disc(x, y, r * 0.76, r * 0.71), cream, 0.95)

    def word(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.paint(canvas.text("COLA", x, y, 24, 5), cream, 0.95)

    def star(canvas: Canvas, x: float, y: float, angle: float) -> None:
        a = np.radians(np.arange(0, 360, 36) - 90 + angle)
        radii = np.where(np.arange(10) % 2, 6, 15)[:, None]
        canvas.paint(canvas.polygon(radii * np.stack([np.cos(a), np.sin(a)], 1) + (x, y)), cream, 0.95)

    c.prints = [
        Component(band, 160, 160, r * 0.3),
        Component(word, 160, 160, 42),
        Component(star, 160, 160 - r * 0.45, 18),
        Component(star, 160, 160 + r * 0.45, 18),
    ]
    return c


def circuit_board(rng: Rng, size: int) -> Canvas:
    """A populated board: chips, capacitors and resistors in fixed places on green solder mask."""
    c = Canvas.blank(backdrop(rng, size, np.full(3, rng.uniform(210, 235))))
    w, h = 276.0, 220.0
    mask = hsv(rng.normal(0.40, 0.008), rng.uniform(0.6, 0.75), rng.uniform(0.30, 0.40))
    c.place(c.box(160, 160, w, h, 0, 8), coloured(mask, grainy(rng, size, 0.02)), lift=3, bevel=2, gloss=0.25)
    copper = mask * 1.25 + 12
    for i in range(9):
        y = 68 + i * 22
        points = [
            (30, y),
            (90 + i * 6, y),
            (120 + i * 6, y + (18 if i < 5 else -18)),
            (288, y + (18 if i < 5 else -18)),
        ]
        c.paint(c.stroke(points, 2.2), copper)
    gold = hsv(0.12, 0.5, 0.8)
    for x, y in ((38, 66), (282, 66), (38, 254), (282, 254)):
        c.place(c.disc(x, y, 11), gold, lift=0.6, bevel=2, gloss=0.5)
        c.cut(c.disc(x, y, 6.5))
    silver = np.full(3, 188.0)
    black, tan, brown = np.full(3, 38.0), hsv(0.09, 0.4, 0.72), np.full(3, 52.0)

    def chip_of(cw: float, ch: float, label: str) -> Stamp:
        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            n = int(ch // 11)
            leg = rounded_box(10, 4.5, 0)
            at = [(side * (cw / 2 + 4), (i - (n - 1) / 2) * 10) for i in range(n) for side in (-1, 1)]
            legs = canvas.polygon(*(turned(leg + place, angle, x, y) for place in at))
            canvas.place(legs, silver, lift=1.5, bevel=1.5, gloss=0.6)
            canvas.place(canvas.box(x, y, cw, ch, angle, 2), black, lift=6, bevel=3, gloss=0.12)
            dot = turned(circle(7 - cw / 2, 7 - ch / 2, 2.6), angle, x, y)
            canvas.paint(canvas.polygon(dot), black + 60)
            canvas.paint(canvas.text(label, x, y, 7, 1), black + 110, 0.8)

        return draw

    def can(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.box(x, y, 34, 34, angle, 5), black + 8, lift=3, bevel=2)
        canvas.place(canvas.disc(x, y, 15.5), silver + 12, lift=8, bevel=5, gloss=0.6)
        arc = [spoke(15, angle + turn, x, y) for turn in range(-45, 46, 5)]
        canvas.paint(canvas.polygon(arc), black)

    def chip_part(colour: ArrayLike) -> Stamp:
        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            canvas.place(canvas.box(x, y, 24, 11, angle), silver, lift=2.5, bevel=2, gloss=0.6)
            canvas.place(canvas.box(x, y, 14, 12, angle), colour, lift=1.5, bevel=2, gloss=0.1)

        return draw

    j = rng.normal(0, 0.6, (20, 3))
    layout = [
        (chip_of(52, 66, "LM358"), 110, 122, 42),
        (chip_of(40, 44, "555"), 218, 116, 32),
        (can, 248, 208, 20),
        (can, 204, 208, 20),
        (chip_of(34, 34, "78L"), 60, 214, 26),
    ]
    for k, (draw, x, y, radius) in enumerate(layout):
        c.components.append(Component(draw, x + j[k, 0], y + j[k, 1], radius, j[k, 2]))
    small = [
        (110, 204),
        (110, 228),
        (150, 204),
        (150, 228),
        (164, 78),
        (196, 78),
        (262, 150),
        (56, 110),
        (56, 150),
    ]
    for k, (x, y) in enumerate(small):
        pads = (turned(rounded_box(8, 12, 1), 0, x + side * 12, y) for side in (-1, 1))
        c.place(c.polygon(*pads), gold, lift=0.5, bevel=1, gloss=0.4)
        c.components.append(
            Component(chip_part(tan if k % 2 else brown), x + j[k + 6, 0], y + j[k + 6, 1], 14, j[k + 6, 2])
        )
    return c


def blister_pack(rng: Rng, size: int) -> Canvas:
    """Ten tablets in a foil blister; an empty pocket shows foil."""
    c = Canvas.blank(backdrop(rng, size, hsv(0.58, 0.3, rng.uniform(0.35, 0.5))))
    foil = np.full(3, rng.uniform(170, 195))
    diamonds = 1 + 0.05 * np.sign(np.sin(grid(size)[0] * 1.1) * np.sin(grid(size)[1] * 1.1))
    c.place(
        c.box(160, 160, 286, 190, 0, 12),
        coloured(foil, diamonds.astype(np.float32)),
        lift=2,
        bevel=2,
        gloss=0.5,
    )
    tablet = hsv(rng.normal(0.03, 0.01), rng.uniform(0.35, 0.5), rng.uniform(0.85, 0.95))
    seeds = rng.integers(0, 2**31)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        own = np.random.default_rng((int(seeds), round(angle * 10) % 3600))
        pill = canvas.disc(x, y, 19)
        canvas.place(pill, tablet * own.uniform(0.97, 1.03), lift=6, bevel=11, gloss=0.12)
        bar = turned([[-14, 0], [14, 0]], angle, x, y)
        canvas.lift(canvas.stroke(bar, 2.4), -1.6, 1.2)
        canvas.tint(canvas.stroke(bar, 1.6), 0.82)

    for x, y in jittered_grid(rng, 5, 2, 52, 82):
        c.paint(c.disc(x, y, 25), foil * 0.92)
        c.lift(c.disc(x, y, 25), -3, 5)
        c.components.append(Component(draw, x + rng.normal(0, 0.8), y + rng.normal(0, 0.8), 20, rng.uniform(0, 180)))
    return c


def pin_connector(rng: Rng, size: int) -> Canvas:
    """A two-row header: gold pins in a dark housing."""
    c = Canvas.blank(backdrop(rng, size, np.full(3, rng.uniform(195, 225))))
    columns = 9
    plastic = hsv(0.62, rng.uniform(0.1, 0.25), rng.uniform(0.18, 0.26))
    c.place(
        c.box(160, 160, 286, 130, 0, 6),
        coloured(plastic, grainy(rng, size, 0.04)),
        lift=8,
        bevel=4,
        gloss=0.15,
    )
    c.lift(c.box(160, 160, 262, 106, 0, 4), -5, 3)
    c.tint(c.box(160, 160, 262, 106, 0, 4), 0.7)
    c.cut(c.box(160, 94, 36, 14))
    gold = hsv(0.125, rng.uniform(0.5, 0.6), rng.uniform(0.82, 0.92))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.tint(canvas.box(x + 2, y + 3, 14, 14, angle), 0.6)
        canvas.place(canvas.box(x, y, 13, 13, angle, 1), gold * 0.75, lift=7, bevel=4, gloss=0.8)
        canvas.paint(canvas.box(x, y, 7, 7, angle, 1), gold)

    for x, y in jittered_grid(rng, columns, 2, 28, 46):
        c.paint(c.box(x, y, 19, 19), plastic * 0.45)
        c.components.append(Component(draw, x + rng.normal(0, 0.5), y + rng.normal(0, 0.5), 11, rng.normal(0, 1.5)))
    return c


def ball_bearing(rng: Rng, size: int) -> Canvas:
    """An open ball bearing; its balls are components."""
    c = Canvas.blank(backdrop(rng, size, hsv(0.55, 0.15, rng.uniform(0.45, 0.6))))
    r, balls = rng.uniform(116, 124), 9
    steel = np.full(3, rng.uniform(165, 185))
    shine = lathe(rng, size, 160, 160, 0.13)
    c.place(c.disc(160, 160, r, r * 0.78), coloured(steel, shine), lift=6, bevel=5, gloss=0.6)
    c.place(c.disc(160, 160, r * 0.5, r * 0.3), coloured(steel, shine), lift=6, bevel=5, gloss=0.6)
    c.place(c.disc(160, 160, r * 0.79, r * 0.49), np.full(3, 46.0), lift=-1, bevel=3)
    turn = rng.uniform(0, 40)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.disc(x, y, r * 0.14), steel * 1.05, lift=13, bevel=r * 0.14, gloss=1.0)
        canvas.paint(canvas.disc(x - 4, y - 5, 3.5), np.full(3, 250.0), 0.8)

    for i in range(balls):
        x, y = spoke(r * 0.64, turn + 360 * i / balls)
        c.components.append(Component(draw, x, y, r * 0.14))
    return c


def shirt_button(rng: Rng, size: int) -> Canvas:
    """A four-hole button of pearly plastic."""
    c = Canvas.blank(backdrop(rng, size, hsv(0.62, 0.35, rng.uniform(0.28, 0.38))))
    r = rng.uniform(108, 122)
    pearl = hsv(0.09, rng.uniform(0.06, 0.14), rng.uniform(0.84, 0.92))
    sheen = 1 + 0.035 * clouds(rng, size, 90, 2)
    c.place(c.disc(160, 160, r), coloured(pearl, sheen), lift=9, bevel=16, gloss=0.5)
    c.lift(c.disc(160, 160, r * 0.72), -6, 9)
    turn = rng.uniform(0, 90)
    for i in range(4):
        x, y = spoke(r * 0.27, turn + 90 * i)
        c.lift(c.disc(x, y, r * 0.12), -2, 4)
        c.cut(c.disc(x, y, r * 0.1))
    return c


def wood_screw(rng: Rng, size: int) -> Canvas:
    """A countersunk screw, seen from the side."""
    c = Canvas.blank(backdrop(rng, size, np.full(3, rng.uniform(215, 240))))
    tone = hsv(0.12, rng.uniform(0.25, 0.4), rng.uniform(0.62, 0.74))
    tilt = rng.uniform(-18, 18)
    gx, gy = grid(size)
    across = (gx - 160) * np.cos(np.radians(tilt)) + (gy - 160) * np.sin(np.radians(tilt))
    round_ = np.clip(1.25 - (np.abs(across + 5) / 20) ** 2, 0.45, 1.3).astype(np.float32)
    metal = coloured(tone, round_ * brushed(rng, size, 0.03))

    def shape(points: list[tuple[float, float]]) -> np.ndarray:
        both = np.array(points + [(-x, y) for x, y in reversed(points)])
        return turned(both, tilt, 160, 160)

    c.place(c.polygon(shape([(11, -70), (11, 80), (2, 128)])), metal, lift=5, bevel=6, gloss=0.5)
    c.place(c.polygon(shape([(42, -132), (42, -124), (13, -88), (11, -60)])), metal, lift=4, bevel=5, gloss=0.5)
    for y in np.arange(-40, 118, 11.5):
        reach = 18 if y < 80 else max(5.0, 18 - (y - 80) * 0.33)
        flight = turned([[-reach, y - 4], [reach, y + 3], [reach, y + 5], [-reach, y]], tilt, 160, 160)
        c.place(c.polygon(flight), metal * 1.12, lift=3.5, bevel=2.5, gloss=0.7)
        shade = turned([[-reach * 0.7, y + 4], [reach * 0.7, y + 8]], tilt, 160, 160)
        c.tint(c.stroke(shade, 2.5), 0.66)
    return c


def cookie(rng: Rng, size: int) -> Canvas:
    """A round biscuit with a stamped rim and docking holes."""
    c = Canvas.blank(backdrop(rng, size, np.full(3, rng.uniform(195, 230))))
    r, scallops = rng.uniform(112, 122), 32
    a = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    edge = (r * (1 + 0.022 * np.abs(np.cos(scallops / 2 * a))))[:, None] * np.stack([np.cos(a), np.sin(a)], 1) + 160
    dough = hsv(rng.normal(0.095, 0.004), rng.uniform(0.42, 0.52), rng.uniform(0.78, 0.88))
    baked = 1.04 - 0.16 * np.minimum(polar(size, 160, 160)[0] / r, 1) ** 6
    crumb = 1 + 0.035 * clouds(rng, size, 7, 3) + 0.03 * clouds(rng, size, 60, 2)
    c.place(c.polygon(edge), coloured(dough, (baked * crumb).astype(np.float32)), lift=9, bevel=10)
    c.height += 0.35 * c.unit * c.part * clouds(rng, size, 6, 2)
    c.lift(c.disc(160, 160, r * 0.84, r * 0.8), -2, 2)
    for ring, n in ((0.28, 6), (0.58, 12)):
        for i in range(n):
            x, y = spoke(r * ring + rng.normal(0, 0.7), 360 * i / n + rng.normal(0, 0.5))
            c.tint(c.disc(x, y, 3.6), 0.55)
            c.lift(c.disc(x, y, 4.5), -2.5, 3)
    return c
