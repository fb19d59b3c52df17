"""The `parts` family: what the embedded policy is pretrained on, and nothing is tested on.

Every draw function varies colours, proportions and texture as widely as it can (domain randomisation): what the
categories share is only that some of their pictures have a defect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lriad.data.synthetic.canvas import (
    UNITS,
    Canvas,
    Component,
    Floats,
    Region,
    Rng,
    Stamp,
    any_colour,
    blended,
    circle,
    clouds,
    coloured,
    grid,
    hsv,
    noise,
    spoke,
    turned,
    wobbly,
)
from lriad.data.synthetic.materials import against, backdrop, finish, grainy, jittered_grid, lathe


def _bolt(rng: Rng, radius: float) -> Stamp:
    """How one kind of screw head, rivet or knob is drawn."""
    colour, style, gloss = any_colour(rng, (0.3, 0.95)), int(rng.integers(4)), rng.uniform(0, 0.8)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.tint(canvas.disc(x + 1.5, y + 2, radius * 1.15), 0.7)
        head = (
            canvas.polygon(turned(circle(0, 0, radius)[::7], angle, x, y)) if style == 3 else canvas.disc(x, y, radius)
        )
        canvas.place(head, colour, lift=radius * 0.5, bevel=radius * 0.5, gloss=gloss)
        if style == 0:
            canvas.tint(canvas.box(x, y, radius * 1.5, radius * 0.3, angle), 0.4)
        elif style == 1:
            for turn in (0, 90):
                canvas.tint(canvas.box(x, y, radius * 1.2, radius * 0.3, angle + turn), 0.4)
        elif style == 3:
            canvas.tint(canvas.disc(x, y, radius * 0.45), 0.45)

    return draw


# Generic


def machined_plate(rng: Rng, size: int) -> Canvas:
    """A random polygon with holes, slots, pockets and screws, mirror-symmetric or not."""
    c = Canvas.blank(backdrop(rng, size))
    corners = int(rng.integers(3, 9))
    angles = np.sort(np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.normal(0, 0.12, corners))
    radius = rng.uniform(95, 135, corners)
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None] + 160
    colour = against(rng, c.background)
    body = c.polygon(outline)
    c.place(
        body,
        coloured(colour, finish(rng, size)),
        lift=rng.uniform(3, 8),
        bevel=rng.uniform(2, 10),
        gloss=rng.uniform(0, 0.6),
    )
    draw, r = _bolt(rng, rng.uniform(6, 13)), rng.uniform(40, 66)
    if rng.random() < 0.6:
        pocket = (
            c.disc(160, 160, r * 0.7)
            if rng.random() < 0.5
            else c.box(160, 160, r * 1.1, r * rng.uniform(0.4, 1), rng.uniform(0, 180), rng.uniform(0, 12))
        )
        if rng.random() < 0.5:
            c.cut(pocket)
        else:
            c.lift(pocket, rng.uniform(-5, 4), rng.uniform(2, 6))
            c.tint(pocket, rng.uniform(0.6, 1.15))
    n = int(rng.integers(3, 8))
    holes = rng.random() < 0.4
    for i in range(n):
        x, y = spoke(r, float(np.degrees(angles[0])) + 360 * i / n)
        if holes and i % 2:
            c.cut(c.disc(x, y, r * 0.14))
        else:
            c.tint(c.disc(x, y, 4.5), 0.3)
            c.components.append(Component(draw, x, y, 12, rng.uniform(0, 180)))
    return c


def moulded_part(rng: Rng, size: int) -> Canvas:
    """A smooth random outline, as of a toy or a housing, with random features on it."""
    c = Canvas.blank(backdrop(rng, size))
    colour = against(rng, c.background)
    outline = wobbly(rng, 160, 160, rng.uniform(85, 112), rng.uniform(0.1, 0.4), waves=int(rng.integers(2, 6)))
    outline = turned((outline - 160) * (1.1, rng.uniform(0.6, 1.1)), rng.uniform(0, 360), 160, 160)
    body = c.polygon(outline)
    c.place(
        body,
        coloured(colour, finish(rng, size)),
        lift=rng.uniform(6, 16),
        bevel=rng.uniform(8, 40),
        gloss=rng.uniform(0, 0.8),
    )
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.normal(160, 35, 2)
        shape = c.ellipse(x, y, rng.uniform(7, 26), rng.uniform(7, 26), rng.uniform(0, 180))
        shape = shape._replace(alpha=shape.alpha * (c.part[shape.rows, shape.cols] > 0.9))
        style = rng.integers(3)
        if style == 0:
            c.paint(shape, any_colour(rng))
        elif style == 1:
            c.lift(shape, rng.uniform(-6, 6), rng.uniform(3, 9))
        else:
            c.cut(shape)
    return c


def component_grid(rng: Rng, size: int) -> Canvas:
    """Rows of one small random thing on a carrier."""
    c = Canvas.blank(backdrop(rng, size))
    carrier = against(rng, c.background)
    full = rng.random() < 0.4
    w, h = (330, 330) if full else rng.uniform(230, 290, 2)
    c.place(
        c.box(160, 160, w, h, 0, rng.uniform(0, 30)),
        coloured(carrier, finish(rng, size)),
        lift=3,
        bevel=3,
        gloss=rng.uniform(0, 0.4),
    )
    columns, rows = int(rng.integers(2, 8)), int(rng.integers(2, 8))
    px, py = (w - 16) / columns, (h - 16) / rows
    if full:
        px, py = 300 / columns, 300 / rows
    tx, ty = px * rng.uniform(0.4, 0.75), py * rng.uniform(0.4, 0.75)
    # Few things need seats, else nothing shows that one is missing.
    shape, colour, seat = int(rng.integers(4)), against(rng, carrier), rng.random() < 0.6 or rows * columns < 12
    second = any_colour(rng)
    lift, bevel, gloss, decorated = (
        rng.uniform(2, 9),
        rng.uniform(1.5, 12),
        rng.uniform(0, 0.9),
        rng.random() < 0.6,
    )
    shade = rng.uniform(0.6, 0.9)

    def region(canvas: Canvas, x: float, y: float, angle: float, k: float = 1.0) -> Region:
        if shape == 0:
            return canvas.disc(x, y, min(tx, ty) / 2 * k)
        if shape == 1:
            return canvas.box(x, y, tx * k, ty * k, angle, min(tx, ty) * 0.2)
        if shape == 2:
            return canvas.ellipse(x, y, tx / 2 * k, ty / 2 * k, angle)
        return canvas.polygon(turned(circle(0, 0, min(tx, ty) / 2 * k)[::8], angle, x, y))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(region(canvas, x, y, angle), colour, lift=lift, bevel=bevel, gloss=gloss)
        if decorated:
            canvas.paint(region(canvas, x, y, angle, 0.45), second, 0.9)

    jitter = rng.uniform(0, 0.03) * min(px, py)
    for x, y in jittered_grid(rng, columns, rows, px, py):
        if seat:
            spot = region(c, x, y, 0, 1.15)
            c.tint(spot, shade)
            c.lift(spot, -2, 2)
        dx, dy, turn = rng.normal(0, jitter), rng.normal(0, jitter), rng.normal(0, 1.5)
        c.components.append(Component(draw, x + dx, y + dy, min(tx, ty) / 2, turn))
    return c


def periodic_pattern(rng: Rng, size: int) -> Canvas:
    """A random motif, repeated all over."""
    x, y = grid(size)
    angle = rng.uniform(0, np.pi)
    pitch = rng.uniform(9, 46)
    u = (x * np.cos(angle) + y * np.sin(angle)) / pitch + 0.03 * noise(rng, size, 80)
    v = (y * np.cos(angle) - x * np.sin(angle)) / (pitch * rng.uniform(0.6, 1.6)) + 0.03 * noise(rng, size, 80)
    if rng.random() < 0.5:
        u = u + 0.5 * (np.floor(v) % 2)
    wave = np.zeros_like(u)
    for i, j in ((1, 0), (0, 1), (1, 1), (2, 1)):
        strength, phase = rng.normal() * (rng.random() < 0.6), rng.uniform(0, 2 * np.pi)
        if strength:
            wave += strength * np.cos(2 * np.pi * (i * u + j * v) + phase)
    wave /= np.abs(wave).max() + 1e-6
    sharp = rng.uniform(1, 12)
    mix = (1 / (1 + np.exp(-sharp * (wave - rng.uniform(-0.3, 0.3))))).astype(np.float32)
    a, b = any_colour(rng), any_colour(rng)
    factor = grainy(rng, size, rng.uniform(0.01, 0.08), rng.uniform(0.5, 4))
    c = Canvas.surface(blended(a, b, mix) * factor, rng.uniform(0, 0.4))
    c.height += rng.uniform(0, min(3.0, pitch / 7)) * c.unit * mix
    return c


def noise_surface(rng: Rng, size: int) -> Canvas:
    """Random grain of any scale and direction, as of stone, felt, castings or foam."""
    cell, stretch = np.exp(rng.uniform(np.log(2.5), np.log(40))), np.exp(rng.uniform(0, np.log(8)))
    texture = clouds(rng, size, cell * stretch, int(rng.integers(1, 5)), cell)
    if rng.random() < 0.5:
        texture = np.ascontiguousarray(texture.T)
    style = rng.integers(3)
    if style == 0:
        texture = np.abs(texture) - 0.8
    elif style == 1:
        texture = np.tanh(2 * texture)
    a, b = any_colour(rng), any_colour(rng)
    b = a + (b - a) * rng.uniform(0.1, 0.6)
    mix = np.clip(0.5 + 0.3 * texture, 0, 1)
    c = Canvas.surface(blended(a, b, mix) * grainy(rng, size, rng.uniform(0, 0.06), 1), rng.uniform(0, 0.5))
    c.height += rng.uniform(0, 1) * min(2.0, cell * 0.3) * c.unit * texture
    return c


# Objects and assemblies


def pipe_flange(rng: Rng, size: int) -> Canvas:
    """A ring with a bolt circle."""
    c = Canvas.blank(backdrop(rng, size))
    colour, r = against(rng, c.background), rng.uniform(105, 135)
    face = coloured(colour, finish(rng, size))
    c.place(c.disc(160, 160, r), face, lift=6, bevel=rng.uniform(3, 9), gloss=rng.uniform(0, 0.6))
    inner = r * rng.uniform(0.3, 0.5)
    c.lift(c.disc(160, 160, inner + 14), rng.uniform(-4, 8), 5)
    c.cut(c.disc(160, 160, inner))
    bolts, ring = int(rng.integers(3, 11)), (r + inner + 14) / 2
    draw, turn = _bolt(rng, min(15, (r - inner) * 0.2)), rng.uniform(0, 360)
    for i in range(bolts):
        x, y = spoke(ring, turn + 360 * i / bolts)
        c.tint(c.disc(x, y, 5), 0.25)
        c.components.append(Component(draw, x, y, (r - inner) * 0.2, rng.uniform(0, 180)))
    return c


def keypad(rng: Rng, size: int) -> Canvas:
    """Keys with printed legends."""
    c = Canvas.blank(backdrop(rng, size))
    body = against(rng, c.background)
    columns, rows = int(rng.integers(3, 6)), int(rng.integers(3, 6))
    pitch = min(260 / columns, 270 / rows)
    c.place(
        c.box(160, 160, columns * pitch + 18, rows * pitch + 18, 0, rng.uniform(4, 20)),
        coloured(body, finish(rng, size)),
        lift=5,
        bevel=4,
        gloss=0.2,
    )
    cap, radius, gloss = against(rng, body), rng.uniform(2, pitch * 0.4), rng.uniform(0, 0.5)
    ink = against(rng, cap)
    letters = rng.permutation(list("0123456789ABCDEFGHKLMNPRSTUX"))

    def key(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.box(x, y, pitch * 0.8, pitch * 0.8, angle, radius), cap, lift=6, bevel=4, gloss=gloss)

    def legend(letter: str) -> Stamp:
        return lambda canvas, x, y, angle: canvas.paint(
            canvas.text(letter, x, y, pitch * 0.33, pitch * 0.06), ink, 0.95
        )

    for (x, y), letter in zip(jittered_grid(rng, columns, rows, pitch, pitch), letters, strict=False):
        c.tint(c.box(x, y, pitch * 0.88, pitch * 0.88, 0, radius), 0.55)
        c.components.append(Component(key, x, y, pitch * 0.4, rng.normal(0, 0.6)))
        c.prints.append(Component(legend(str(letter)), x, y, pitch * 0.4))
    return c


def cable_section(rng: Rng, size: int) -> Canvas:
    """A cut cable: wires in a sheath."""
    c = Canvas.blank(backdrop(rng, size))
    sheath, r = against(rng, c.background), rng.uniform(115, 135)
    c.place(c.disc(160, 160, r), coloured(sheath, grainy(rng, size, 0.04)), lift=4, bevel=3)
    filler = any_colour(rng)
    c.paint(c.disc(160, 160, r * 0.86), coloured(filler, grainy(rng, size, 0.1, 3)))
    n = int(rng.integers(2, 7))
    wire = r * 0.8 * np.sin(np.pi / n) / (1 + np.sin(np.pi / n)) if n > 2 else r * 0.38
    metal = hsv(rng.choice([0.05, 0.1, 0.6]), rng.uniform(0, 0.6), rng.uniform(0.6, 0.9))
    step, turn = wire * rng.uniform(0.16, 0.3), rng.uniform(0, 360)
    lattice = [((i + 0.5 * (j % 2)) * step * 1.05, j * step * 0.9) for i in range(-4, 5) for j in range(-4, 5)]
    strands = [at for at in lattice if np.hypot(*at) < wire * 0.6 - step * 0.5]
    hues = rng.random(n)

    def drawn(colour: Floats) -> Stamp:
        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            canvas.place(canvas.disc(x, y, wire * 0.95), colour, lift=3, bevel=3, gloss=0.2)
            canvas.paint(canvas.disc(x, y, wire * 0.64), metal * 0.4)
            core = canvas.polygon(*(circle(x + dx, y + dy, step * 0.48)[::2] for dx, dy in strands))
            canvas.place(core, metal, lift=2, bevel=step / 2, gloss=0.6)

        return draw

    for i in range(n):
        x, y = spoke(r * 0.83 - wire, turn + 360 * i / n)
        c.tint(c.disc(x, y, wire * 0.9), 0.35)
        c.components.append(Component(drawn(hsv(hues[i], 0.6, 0.7)), x, y, wire))
    return c


def pressed_tablet(rng: Rng, size: int) -> Canvas:
    """One or a few tablets with a score line and an imprint."""
    c = Canvas.blank(backdrop(rng, size))
    colour, speckled = against(rng, c.background), rng.random() < 0.5
    factor = grainy(rng, size, 0.05 if speckled else 0.01, 1.5)
    r, ratio, tilt = rng.uniform(80, 125), rng.choice([1.0, 0.7, 0.5]), rng.uniform(0, 180)
    shape = c.ellipse(160, 160, r, r * ratio, tilt)
    c.place(shape, coloured(colour, factor), lift=12, bevel=rng.uniform(8, 30), gloss=rng.uniform(0, 0.4))
    if rng.random() < 0.7:
        line = turned([[0, -r * ratio * 0.85], [0, r * ratio * 0.85]], tilt, 160, 160)
        c.lift(c.stroke(line, 5), -3, 2.5)
        c.tint(c.stroke(line, 3), 0.85)
    ink, word = against(rng, colour), "".join(rng.choice(list("ABEHKNPRSTVX1234578"), 3))
    c.prints = [
        Component(
            lambda k, x, y, a: k.paint(k.text(word, x, y, r * 0.22 * ratio + 6, 3), ink, 0.9),
            160,
            160,
            r * 0.5,
        )
    ]
    return c


def jar_mouth(rng: Rng, size: int) -> Canvas:
    """Looking down into a jar or a pipe: rings in rings, dark inside."""
    c = Canvas.blank(backdrop(rng, size))
    r, rings = rng.uniform(110, 145), int(rng.integers(3, 9))
    radii = np.sort(rng.uniform(0.35, 0.97, rings))[::-1] * r
    base = against(rng, c.background)
    c.place(c.disc(160, 160, r), base, lift=5, bevel=6, gloss=rng.uniform(0, 1))
    tint = any_colour(rng)
    for k, radius in enumerate(radii):
        colour = (base if k % 2 else tint) * rng.uniform(0.3, 1.1)
        c.paint(c.disc(160, 160, radius), colour, rng.uniform(0.3, 1))
        c.lift(c.disc(160, 160, radius), rng.uniform(-4, 2), rng.uniform(2, 8))
    c.paint(c.disc(160, 160, r * rng.uniform(0.3, 0.6)), any_colour(rng, (0.03, 0.35)), 0.95)
    c.albedo *= 1 + rng.uniform(0, 1) * (lathe(rng, size, 160, 160, 0.1) - 1) * c.part
    return c


def bristle_brush(rng: Rng, size: int) -> Canvas:
    """Tufts of bristles in a head."""
    c = Canvas.blank(backdrop(rng, size))
    head = against(rng, c.background)
    columns, rows = int(rng.integers(3, 6)), int(rng.integers(5, 9))
    pitch = min(32.0, 250 / rows)
    w, h = columns * pitch + 26, rows * pitch + 30
    c.place(c.box(160, 160 + h / 2, w * 0.3, 160), head, lift=5, bevel=6, gloss=0.4)
    c.place(c.box(160, 160, w, h, 0, w * rng.uniform(0.2, 0.5)), head, lift=8, bevel=8, gloss=0.4)
    a, b = against(rng, head), any_colour(rng)
    pattern, ends = int(rng.integers(3)), rng.normal(0, pitch * 0.17, (26, 2))

    def tuft(colour: Floats) -> Stamp:
        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            canvas.tint(canvas.disc(x + 1, y + 2, pitch * 0.44), 0.6)
            dots = canvas.polygon(*(circle(x + dx, y + dy, pitch * 0.1)[::4] for dx, dy in ends))
            canvas.place(canvas.disc(x, y, pitch * 0.36), colour * 0.72, lift=2, bevel=3)
            canvas.place(dots, colour, lift=1.5, bevel=1.5, gloss=0.2)

        return draw

    for k, (x, y) in enumerate(jittered_grid(rng, columns, rows, pitch, pitch, 0.6)):
        row, col = divmod(k, columns)
        c.tint(c.disc(x, y, pitch * 0.2), 0.35)
        colour = (a, (a, b)[(row + col) % 2], (a, b)[row % 2])[pattern]
        c.components.append(Component(tuft(colour), x, y, pitch * 0.42))
    return c


def cell_panel(rng: Rng, size: int) -> Canvas:
    """A cell with fingers, busbars and cut corners, grained or plain."""
    grey = rng.random() < 0.6
    base = (
        np.full(3, rng.uniform(70, 175))
        if grey
        else hsv(rng.uniform(0.55, 0.68), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.6))
    )
    factor = 1 + rng.uniform(0, 0.12) * clouds(rng, size, rng.uniform(8, 40), 3)
    c = Canvas.surface(np.full((3, size, size), rng.uniform(5, 60)))
    gap = rng.choice([0, rng.uniform(0, 30)])
    corner = [
        (gap, 0),
        (UNITS - gap, 0),
        (UNITS, gap),
        (UNITS, UNITS - gap),
        (UNITS - gap, UNITS),
        (gap, UNITS),
        (0, UNITS - gap),
        (0, gap),
    ]
    outline = (np.array(corner) - 160) * rng.uniform(0.93, 1.02) + 160
    c.paint(c.polygon(outline), coloured(base, factor.astype(np.float32)))
    bars, upright = int(rng.integers(2, 6)), rng.random() < 0.3
    line = base * rng.uniform(0.15, 0.5) if grey else np.full(3, rng.uniform(150, 210))
    pitch = rng.uniform(5, 12)
    fade = rng.uniform(0.05, 0.35)
    turn = 90 if upright else 0
    fingers = np.arange(pitch / 2, 150, pitch)
    for at in (*-fingers, *fingers):
        c.paint(c.stroke(turned([[at, -152], [at, 152]], turn, 160, 160), 1), line, fade)
    width = rng.uniform(4, 9)
    for i in range(bars):
        at = UNITS * ((i + 0.5) / bars - 0.5)
        c.paint(c.stroke(turned([[-156, at], [156, at]], turn, 160, 160), width), line, 0.95)
    return c


def led_strip(rng: Rng, size: int) -> Canvas:
    """Strips of light-emitting diodes with resistors between them."""
    c = Canvas.blank(backdrop(rng, size))
    tape = against(rng, c.background)
    strips, n = int(rng.integers(1, 4)), int(rng.integers(4, 7))
    lens, gold, phosphor = (
        rng.uniform(0.3, 0.42),
        hsv(0.12, 0.5, 0.8),
        hsv(rng.uniform(0.1, 0.17), rng.uniform(0.3, 0.9), 0.95),
    )
    pitch, width = 300 / n, rng.uniform(50, 72)
    body = against(rng, tape)

    def diode(canvas: Canvas, x: float, y: float, angle: float) -> None:
        s = min(pitch * 0.6, width * 0.6)
        canvas.place(canvas.box(x, y, s * 1.2, s * 0.7, angle), gold, lift=1, bevel=1, gloss=0.6)
        canvas.place(canvas.box(x, y, s, s, angle, 2), body, lift=5, bevel=3, gloss=0.3)
        canvas.paint(canvas.disc(x, y, s * lens), phosphor)
        canvas.lift(canvas.disc(x, y, s * lens), 2, s * lens)

    for i in range(strips):
        y = 160 + (i - (strips - 1) / 2) * (width + 22)
        c.place(c.box(160, y, 340, width), coloured(tape, finish(rng, size)), lift=2, bevel=2, gloss=0.2)
        for edge in (-1, 1):
            c.paint(c.box(160, y + edge * width * 0.38, 340, 3), gold, 0.8)
        for k in range(n):
            x = 160 + (k - (n - 1) / 2) * pitch
            c.tint(c.box(x, y, min(pitch * 0.6, width * 0.6), min(pitch * 0.5, width * 0.5)), 0.72)
            c.place(c.box(x + pitch / 2, y, 5, 12), np.full(3, 40.0), lift=2, bevel=1)
            c.components.append(Component(diode, x, y, min(pitch, width) * 0.3, rng.normal(0, 1.2)))
    return c


def zip_fastener(rng: Rng, size: int) -> Canvas:
    """Two rows of teeth on woven tape."""
    x, y = grid(size)
    tape = any_colour(rng)
    weave = 1 + rng.uniform(0.05, 0.16) * np.sin(x * rng.uniform(0.8, 1.5)) * np.sin(y * rng.uniform(0.8, 1.5))
    c = Canvas.surface(coloured(tape, (weave * grainy(rng, size, 0.05)).astype(np.float32)))
    n, colour, gloss = int(rng.integers(10, 17)), against(rng, tape), rng.uniform(0, 0.9)
    pitch, long = 312 / n, rng.uniform(34, 50)

    def tooth(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.tint(canvas.box(x + 1, y + 2, long, pitch * 0.46, angle, 3), 0.6)
        canvas.place(canvas.box(x, y, long, pitch * 0.42, angle, 3), colour, lift=5, bevel=3, gloss=gloss)

    for side in (-1, 1):
        c.tint(c.box(160 + side * long * 0.95, 160, 7, 340), 0.72)
        for i in range(n):
            at = (i + (0.5 if side > 0 else 0.0) + 0.25) * pitch
            c.components.append(Component(tooth, 160 + side * long * 0.32, at, pitch * 0.6, rng.normal(0, 0.8)))
    c.components = [t for t in c.components if 30 < t.y < 290] + [t for t in c.components if not 30 < t.y < 290]
    return c


def gel_capsule(rng: Rng, size: int) -> Canvas:
    """A capsule in two colours with print."""
    c = Canvas.blank(backdrop(rng, size))
    a, b, tilt = against(rng, c.background), any_colour(rng), rng.uniform(-30, 30)
    w, h = rng.uniform(220, 270), rng.uniform(80, 110)
    body = c.box(160, 160, w, h, tilt, h / 2)
    c.place(body, a, lift=14, bevel=h * 0.45, gloss=rng.uniform(0.3, 1))
    cap = c.polygon(turned([[rng.uniform(-10, 10), -h], [w, -h], [w, h], [0, h]], tilt, 160, 160))
    alpha = np.zeros((size, size), np.float32)
    alpha[cap.rows, cap.cols] = cap.alpha
    c.paint(body._replace(alpha=alpha[body.rows, body.cols] * body.alpha), b)
    word, ink = str(rng.integers(100, 999)), against(rng, a)
    at = spoke(-w * 0.26, tilt)
    c.prints = [Component(lambda k, x, y, t: k.paint(k.text(word, x, y, 22, 3.5), ink, 0.9), at[0], at[1], 30)]
    return c


def nut_kernel(rng: Rng, size: int) -> Canvas:
    """A nut, a bean or a fruit stone: rounded, streaked, paler at one end."""
    c = Canvas.blank(backdrop(rng, size))
    colour = against(rng, c.background)
    r, ratio, tilt = rng.uniform(95, 125), rng.uniform(0.62, 1), rng.uniform(0, 360)
    outline = turned(wobbly(rng, 0, 0, r, 0.06, waves=3) * (1, ratio), tilt, 160, 160)
    streaks = clouds(rng, size, rng.uniform(40, 160), 4, rng.uniform(4, 12))
    if rng.random() < 0.5:
        streaks = np.ascontiguousarray(streaks.T)
    x, y = grid(size)
    along = (x - 160) * np.cos(np.radians(tilt)) + (y - 160) * np.sin(np.radians(tilt))
    streaks = rng.uniform(0.03, 0.14) * streaks + rng.uniform(-0.3, 0.3) * along / r
    c.place(
        c.polygon(outline),
        coloured(colour, np.clip(1 + streaks, 0.3, 1.7)),
        lift=18,
        bevel=r * 0.6,
        gloss=rng.uniform(0, 0.5),
    )
    return c


def threaded_shaft(rng: Rng, size: int) -> Canvas:
    """A shaft with helical grooves, close up or whole."""
    behind = backdrop(rng, size)
    x, y = grid(size)
    width, pitch, lean = (
        rng.uniform(60, 170),
        rng.uniform(16, 80),
        rng.uniform(0.1, 0.7) * rng.choice([-1, 1]),
    )
    colour = hsv(rng.choice([0.1, 0.12, 0.6]), rng.uniform(0, 0.45), rng.uniform(0.45, 0.8))
    t = np.clip((x - 160) / width, -1, 1)
    phase = (y + lean * width * np.arcsin(t)) / pitch
    groove = np.clip(np.sin(2 * np.pi * phase) * rng.uniform(1, 4), -1, 1)
    glow = 0.45 + 0.6 * np.sqrt(np.clip(1 - t**2, 0, 1)) + 0.2 * np.exp(-(((t - rng.uniform(-0.4, 0.4)) / 0.2) ** 2))
    c = Canvas.blank(behind)
    tone = glow * (1 + 0.18 * groove) * (1 + 0.05 * noise(rng, size, 2, 30))
    c.place(
        c.box(160, 160, 2 * width, 340),
        coloured(colour, np.clip(tone, 0, 1.6).astype(np.float32)),
        lift=3,
        bevel=4,
        gloss=rng.uniform(0.2, 0.8),
    )
    c.height += (rng.uniform(1, 3) * min(1.0, pitch / 24) * c.unit * groove * c.part).astype(np.float32)
    return c


def etched_foil(rng: Rng, size: int) -> Canvas:
    """Bare conductor tracks and pads, in two tones."""
    a = any_colour(rng)
    b = against(rng, a)
    if rng.random() < 0.5:
        a, b = (np.full(3, v) for v in rng.permutation([rng.uniform(225, 252), rng.uniform(3, 30)]))
    c = Canvas.blank(coloured(a, grainy(rng, size, rng.uniform(0, 0.03))))
    relief, gloss, pitch = rng.uniform(0, 1.5), rng.uniform(0, 0.4), rng.uniform(20, 40)
    steps = np.array([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]])
    used: set[tuple[int, int]] = set()

    def pad(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.disc(x, y, pitch * 0.36), b, lift=relief, bevel=1.5, gloss=gloss)
        canvas.paint(canvas.disc(x, y, pitch * 0.15), a)

    def land(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.box(x, y, pitch * 0.75, pitch * 0.5, angle), b, lift=relief, bevel=1.5, gloss=gloss)

    ends = (pad, land)
    for _ in range(int(rng.integers(6, 22))):
        at, heading = rng.integers(0, int(UNITS / pitch) + 1, 2), int(rng.integers(8))
        path: list[NDArray] = []
        while len(path) < 12 and tuple(at) not in used:
            used.add((int(at[0]), int(at[1])))
            path.append(at * pitch)
            if rng.random() < 0.3:
                heading = (heading + int(rng.choice([-1, 1]))) % 8
            at = at + steps[heading]
        if len(path) < 2:
            continue
        track = c.stroke(path, pitch * rng.choice([0.18, 0.28, 0.45]))
        c.place(track, b, lift=relief, bevel=1.5, gloss=gloss)
        for x, y in (path[0], path[-1]):
            if 30 < x < 290 and 30 < y < 290:
                draw = ends[int(rng.integers(2))]
                c.components.append(Component(draw, float(x), float(y), pitch * 0.38, 90.0 * int(rng.integers(2))))
    if len(c.components) < 2:
        c.components += [Component(pad, x, 160.0, pitch * 0.38) for x in (100.0, 220.0)]
    return c


def printed_label(rng: Rng, size: int) -> Canvas:
    """A label with lines of text, a bar code and a mark."""
    c = Canvas.blank(backdrop(rng, size))
    paper = against(rng, c.background)
    ink = against(rng, paper)
    w, h = rng.uniform(240, 290), rng.uniform(180, 260)
    c.place(
        c.box(160, 160, w, h, 0, rng.uniform(0, 20)),
        coloured(paper, grainy(rng, size, 0.01)),
        lift=1.5,
        bevel=1.5,
        gloss=rng.uniform(0, 0.3),
    )
    left, top = 160 - w / 2, 160 - h / 2
    letters = list("ABCDEFGHIKLMNOPRSTUVXYZ0123456789")

    def line(words: str, height: float) -> Stamp:
        return lambda k, x, y, a: k.paint(k.text(words, x, y, height, height * 0.12), ink, 0.92)

    rows = int(rng.integers(2, 5))
    for i in range(rows):
        words = "".join(rng.choice(letters, int(rng.integers(4, 10))))
        height = rng.uniform(12, 20)
        c.prints.append(Component(line(words, height), 160, top + 22 + i * 28, height * 1.6))
    widths = rng.choice([1.5, 2.5, 4.0], 40)
    bar_y, bar_h = top + h - 34, 36

    def bars(canvas: Canvas, x: float, y: float, angle: float) -> None:
        at = x - w * 0.3
        for i, width in enumerate(widths):
            if at > x + w * 0.3:
                break
            if i % 2 == 0:
                canvas.paint(canvas.box(at + width / 2, y, width, bar_h), ink, 0.95)
            at += width

    c.prints.append(Component(bars, 160, bar_y, 30))
    mark, colour = rng.uniform(10, 18), any_colour(rng)
    c.prints.append(
        Component(
            lambda k, x, y, a: k.paint(k.disc(x, y, mark, mark * 0.5), colour, 0.95),
            left + w - 28,
            top + h * 0.42,
            mark,
        )
    )
    return c


# Surfaces


def ribbed_rubber(rng: Rng, size: int) -> Canvas:
    """Parallel or crossed ribs."""
    x, y = grid(size)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(9, 28)
    u = (x * np.cos(angle) + y * np.sin(angle)) / pitch
    v = (y * np.cos(angle) - x * np.sin(angle)) / (pitch * rng.uniform(1, 2))
    rib = np.clip(np.sin(2 * np.pi * u) * rng.uniform(1, 3), -1, 1)
    if rng.random() < 0.5:
        rib = np.maximum(rib, np.clip(np.sin(2 * np.pi * v) * 2, -1, 1))
    c = Canvas.surface(
        coloured(any_colour(rng), (1 + rng.uniform(0.02, 0.2) * rib).astype(np.float32) * grainy(rng, size, 0.05)),
        rng.uniform(0, 0.4),
    )
    c.height += (rng.uniform(0.06, 0.14) * pitch * c.unit * rib).astype(np.float32)
    return c


def cast_concrete(rng: Rng, size: int) -> Canvas:
    """Mottled grey with sand and small pores."""
    grey = hsv(rng.uniform(0.05, 0.15), rng.uniform(0, 0.15), rng.uniform(0.4, 0.8))
    c = Canvas.surface(
        coloured(grey, (1 + 0.06 * clouds(rng, size, 120, 4) + 0.06 * clouds(rng, size, 4, 2)).astype(np.float32))
    )
    pores = [
        circle(px, py, rng.uniform(0.7, 1.8))[::4] for px, py in rng.uniform(0, UNITS, (int(rng.integers(20, 160)), 2))
    ]
    c.tint(c.polygon(*pores), rng.uniform(0.6, 0.85))
    c.height += 0.5 * c.unit * clouds(rng, size, 6, 3)
    return c


def painted_sheet(rng: Rng, size: int) -> Canvas:
    """Lacquer over sheet metal, smooth or with orange peel; sometimes a seam or a bead."""
    c = Canvas.surface(
        coloured(any_colour(rng), (1 + 0.04 * noise(rng, size, 250)).astype(np.float32)),
        rng.uniform(0.2, 0.8),
    )
    c.height += rng.uniform(0, 0.8) * c.unit * noise(rng, size, rng.uniform(5, 12))
    for _ in range(int(rng.integers(0, 3))):
        at, upright = rng.uniform(40, 280), rng.random() < 0.5
        ends = [(-10, at), (330, at + rng.normal(0, 8))]
        c.lift(
            c.stroke([(b, a) for a, b in ends] if upright else ends, rng.uniform(6, 24)),
            rng.uniform(-5, 5),
            6,
        )
    return c


def marble_slab(rng: Rng, size: int) -> Canvas:
    """Polished stone with broad soft veins."""
    veins = np.abs(clouds(rng, size, rng.uniform(60, 140), 2))
    a, b = any_colour(rng), any_colour(rng)
    mix = np.exp(-veins * rng.uniform(1.2, 3)) * rng.uniform(0.2, 0.6)  # Thin dark ones would be cracks.
    return Canvas.surface(blended(a, b, mix) * grainy(rng, size, 0.02), 0.3)


def mosaic_wall(rng: Rng, size: int) -> Canvas:
    """Bricks, shingles or mosaic stones in courses."""
    joint, a = any_colour(rng), any_colour(rng)
    c = Canvas.surface(coloured(joint, grainy(rng, size, 0.08)))
    h, w = rng.uniform(22, 60), rng.uniform(28, 100)
    gap, spread, shift = rng.uniform(2, 6), rng.uniform(0, 0.12), rng.choice([0, 0.33, 0.5])
    face = finish(rng, size)
    radius, gloss, bevel = rng.uniform(0, 6), rng.uniform(0, 0.6), rng.uniform(1.5, 6)
    ox, oy = rng.uniform(0, 30, 2)
    for row in range(int(UNITS / h) + 2):
        for col in range(-1, int(UNITS / w) + 2):
            x, y = ox + (col + shift * (row % 2 if shift != 0.33 else row % 3)) * w, oy + row * h - h / 2
            tone = a * (1 + rng.normal(0, spread))
            c.place(
                c.box(x, y, w - gap, h - gap, 0, radius),
                np.clip(tone, 0, 255),
                lift=4,
                bevel=bevel,
                gloss=gloss,
            )
    c.albedo *= face
    return c


def wire_screen(rng: Rng, size: int) -> Canvas:
    """Crossed wires over something dark or light."""
    behind = any_colour(rng)
    c = Canvas.surface(coloured(behind, grainy(rng, size, 0.02)))
    wire, pitch, thick = against(rng, behind), rng.uniform(16, 44), rng.uniform(0.15, 0.4)
    gloss, angle = rng.uniform(0, 0.8), rng.choice([0, 45, rng.uniform(0, 90)])
    s = np.linspace(-240, 240, 61)
    wave = rng.choice([0, 0.25]) * pitch * np.sin(np.pi * s / pitch)
    count = int(250 / pitch)
    for turn in (0, 90):
        rows = [np.stack([s, i * pitch + wave * (-1) ** i], 1) for i in range(-count, count + 1)]
        wires = c.stroke([turned(row, angle + turn, 160, 160) for row in rows], pitch * thick)
        c.paint(wires, wire)
        c.lift(wires, 2.5, pitch * thick / 2)
        c.polish(wires, gloss)
    return c
