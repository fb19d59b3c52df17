"""The `parts` family's assemblies: many pieces in an order that one look takes in, so that a fault in it shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lriad.data.synthetic.canvas import (
    UNITS,
    Canvas,
    Component,
    Floats,
    Region,
    Rng,
    Stamp,
    any_colour,
    circle,
    clouds,
    coloured,
    grid,
    rounded_box,
    spoke,
    turned,
)
from lriad.data.synthetic.materials import against, backdrop, finish, grainy, jittered_grid, lathe

_GREY = np.array([0.3, 0.59, 0.11])

_CODES = ((0, 1), (0, 1, 2), (0, 0, 1), (0, 1, 1), (0, 1, 0, 2))


def _apart(rng: Rng, count: int, behind: ArrayLike) -> list[Floats]:
    """Colours that a grey camera, too, tells from each other and from what is behind them."""
    greys, colours = [float(_GREY @ np.asarray(behind))], list[Floats]()
    while len(colours) < count:
        tries = [any_colour(rng, (0.2, 1.0)) for _ in range(12)]
        gaps = [min(abs(float(_GREY @ colour) - grey) for grey in greys) for colour in tries]
        good = next((i for i, gap in enumerate(gaps) if gap > 48), int(np.argmax(gaps)))
        colours.append(tries[good])
        greys.append(float(_GREY @ tries[good]))
    return colours


def _pointed(rng: Rng) -> NDArray:
    """The outline of a piece that points along x, of a radius of about 1."""
    bow = np.radians(np.linspace(-90, 90, 19))
    gap = np.radians(np.linspace(rng.uniform(25, 50), 360 - rng.uniform(25, 50), 32))
    shapes = (
        [[-1, -0.3], [0.1, -0.3], [0.1, -0.8], [1, 0], [0.1, 0.8], [0.1, 0.3], [-1, 0.3]],
        [[-0.5, -0.85], *np.stack([np.cos(bow) * 1.1 - 0.1, np.sin(bow) * 0.85], 1).tolist(), [-0.5, 0.85]],
        [[-0.8, -0.9], [-0.15, -0.9], [-0.15, 0.25], [0.85, 0.25], [0.85, 0.9], [-0.8, 0.9]],
        [
            *([-1, -0.6], [-0.35, -0.6], [-0.35, -0.22], [1, -0.22], [1, 0.2], [0.85, 0.2], [0.85, 0.6], [0.55, 0.6]),
            *([0.55, 0.2], [0.35, 0.2], [0.35, 0.5], [0.05, 0.5], [0.05, 0.2], [-0.35, 0.2], [-0.35, 0.6], [-1, 0.6]),
        ],
        [[0, 0], *np.stack([np.cos(gap), np.sin(gap)], 1).tolist()],
        [[1, 0], [0, 0.75], *np.stack([-np.cos(bow) * 0.8, -np.sin(bow) * 0.75], 1)[::-1].tolist(), [0, -0.75]],
        [[-0.9, -0.9], [-0.3, -0.9], [-0.3, -0.3], [0.95, -0.3], [0.95, 0.3], [-0.3, 0.3], [-0.3, 0.9], [-0.9, 0.9]],
        [[-0.8, -0.75], [1, 0], [-0.8, 0.75], [-0.35, 0]],
    )
    return np.array(shapes[int(rng.integers(len(shapes)))], np.float64)


def fuse_row(rng: Rng, size: int) -> Canvas:
    """One to three rows of blocks in a repeating code of colours, each with a mark at one end."""
    c = Canvas.blank(backdrop(rng, size))
    base = against(rng, c.background)
    rows, n = int(rng.integers(1, 4)), int(rng.integers(6, 11))
    pitch, lane = 252 / n, 250 / rows
    w = pitch * rng.uniform(0.6, 0.8)
    h = min(w * rng.uniform(1.3, 3.4), lane * 0.76)
    body = (n * pitch + rng.uniform(10, 30), rows * (h + (lane - h) * 0.5) + 14)
    shape = c.box(160, 160, 340, body[1]) if rng.random() < 0.25 else c.box(160, 160, *body, 0, rng.uniform(2, 14))
    c.place(shape, coloured(base, finish(rng, size)), lift=4, bevel=4, gloss=rng.uniform(0, 0.5))
    code = _CODES[int(rng.integers(len(_CODES)))]
    colours, slots = _apart(rng, max(code) + 1, base), base * rng.uniform(0.45, 0.65)
    radii = rng.uniform(0, w * 0.5, 3) if rng.random() < 0.4 else np.full(3, rng.uniform(0, w * 0.3))
    lift, gloss, mark = rng.uniform(3, 8), rng.uniform(0, 0.8), int(rng.integers(3))

    def fuse(look: int) -> Stamp:
        colour = colours[look]
        ink = colour * 0.35 if colour.mean() > 110 else colour * 0.4 + 150

        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            canvas.tint(canvas.box(x + 1.5, y + 2, w, h, angle, radii[look]), 0.6)
            canvas.place(
                canvas.box(x, y, w, h, angle, radii[look]), colour, lift=lift, bevel=min(w, h) * 0.15, gloss=gloss
            )
            ax, ay = spoke(-h * 0.3, angle + 90, x, y)
            end = canvas.disc(ax, ay, w * 0.2) if mark == 0 else canvas.box(ax, ay, w * 0.72, h * (0.1 * mark), angle)
            canvas.paint(end, ink, 0.95)

        return draw

    stamps, shift = [fuse(look) for look in range(len(colours))], int(rng.integers(2))
    for k, (x, y) in enumerate(jittered_grid(rng, n, rows, pitch, h + (lane - h) * 0.5)):
        row, col = divmod(k, n)
        look = code[(col + row * shift) % len(code)]
        c.paint(c.box(x, y, w * 1.12, h * 1.06, 0, 2), slots)
        c.components.append(Component(stamps[look], x, y, w * 0.5, rng.normal(0, 0.6), look))
    return c


def arrow_tray(rng: Rng, size: int) -> Canvas:
    """A tray of asymmetric pieces that all point the same way."""
    c = Canvas.blank(backdrop(rng, size))
    tray = against(rng, c.background)
    columns, rows = int(rng.integers(3, 7)), int(rng.integers(3, 7))
    pitch = np.array([min(54, 264 / columns), min(54, 264 / rows)]) * rng.uniform(0.9, 1.0)
    w, h = pitch * (columns, rows) + rng.uniform(4, 24)
    full = rng.random() < 0.3
    body = c.box(160, 160, 340, 340) if full else c.box(160, 160, w, h, 0, rng.uniform(0, 24))
    c.place(body, coloured(tray, finish(rng, size)), lift=4, bevel=4, gloss=rng.uniform(0, 0.4))
    r, outline = float(pitch.min()) * rng.uniform(0.36, 0.42), _pointed(rng)
    colour = _apart(rng, 1, tray)[0]
    lift, bevel, gloss = rng.uniform(2, 7), rng.uniform(1.5, 6), rng.uniform(0, 0.8)
    dot, common, seat = rng.random() < 0.4, float(rng.choice([0, 90, rng.uniform(0, 360)])), int(rng.integers(3))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.tint(canvas.polygon(turned(outline * r, angle, x + 1.5, y + 2)), 0.65)
        canvas.place(canvas.polygon(turned(outline * r, angle, x, y)), colour, lift=lift, bevel=bevel, gloss=gloss)
        if dot:
            canvas.tint(canvas.disc(*spoke(-0.45 * r, angle, x, y), r * 0.16), 0.4)

    jitter = rng.uniform(0, 1.2)
    for x, y in jittered_grid(rng, columns, rows, *pitch):
        cell = (
            c.disc(x, y, r * 1.12)
            if seat == 0
            else c.box(x, y, pitch[0] * 0.9, pitch[1] * 0.9, 0, 4)
            if seat == 1
            else c.polygon(turned(outline * r * 1.15, common, x, y))
        )
        c.tint(cell, 0.78 if tray.mean() > 60 else 1.4)
        c.lift(cell, -2, 2)
        dx, dy, turn = rng.normal(0, [jitter, jitter, 2])
        c.components.append(Component(draw, x + dx, y + dy, r, common + turn))
    return c


def roller_cage(rng: Rng, size: int) -> Canvas:
    """Round or long rolling bodies in a ring, between two rings or in the pockets of a disc."""
    c = Canvas.blank(backdrop(rng, size))
    metal, n = against(rng, c.background), int(rng.integers(6, 21))
    r, between = rng.uniform(100, 138), rng.random() < 0.5
    track = r * rng.uniform(0.62, 0.76)
    width = min(2 * np.pi * track / n * rng.uniform(0.55, 0.85), (r - track) * 1.2)
    long = min(width * float(rng.choice([1, 1, rng.uniform(1.3, 3)])), (r - track) * 1.5)
    face, gloss = finish(rng, size), rng.uniform(0.1, 0.8)
    inner, bore = track - long * 0.62, (track - long * 0.62) * rng.uniform(0.55, 0.8)
    c.place(c.disc(160, 160, r), coloured(metal, face), lift=6, bevel=rng.uniform(3, 7), gloss=gloss)
    bed = metal * (rng.uniform(0.25, 0.45) if metal.mean() > 90 else 0.3)
    if between:
        groove = c.disc(160, 160, track + long * 0.6, inner)
        c.paint(groove, bed)
        c.lift(groove, -5, 3)
        c.polish(groove, 0)
    if rng.random() < 0.85:
        c.cut(c.disc(160, 160, bore))
    body, style = _apart(rng, 1, bed)[0], int(rng.integers(3))
    shape_gloss, taper = rng.uniform(0.2, 1.0), rng.uniform(0.65, 1)
    profile = np.array([[-0.5, -0.5 * taper], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5 * taper]]) * (long, width)

    def outline(canvas: Canvas, x: float, y: float, angle: float, k: float) -> Region:
        if long < width * 1.1:
            return canvas.disc(x, y, width / 2 * k)
        if style == 0:
            return canvas.box(x, y, long * k, width * k, angle, width * 0.5)
        return canvas.polygon(turned(profile * k, angle, x, y))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(outline(canvas, x, y, angle, 1), body, lift=width * 0.4, bevel=width * 0.5, gloss=shape_gloss)
        if style == 2 and long < width * 1.1:
            canvas.tint(canvas.disc(x, y, width * 0.2), 0.55)

    start = rng.uniform(0, 360)
    for i in range(n):
        angle = start + 360 * i / n
        x, y = spoke(track, angle)
        if not between:
            pocket = outline(c, x, y, angle, 1.18)
            c.paint(pocket, bed)
            c.lift(pocket, -3, 2)
        c.components.append(Component(draw, x, y, width / 2, angle))
    return c


def _tooth(rng: Rng, height: float, width: float) -> NDArray:
    """The outline of one tooth, lobe or blade that points along x and stands on the line x = 0."""
    half = width / 2
    bow = np.radians(np.linspace(-90, 90, 13))
    lean = rng.uniform(-0.5, 0.5) * width
    tip = rng.uniform(0.3, 0.9)
    tops = (
        [[height, -half * tip], [height, half * tip]],
        [[height, lean]],
        np.stack([height * np.cos(bow), half * 0.95 * np.sin(bow)], 1).tolist(),
        [[height * 0.75, -half], [height, -half * tip], [height, half * tip], [height * 0.75, half]],
        [[height * 0.5, -half + lean * 0.4], [height, lean - half * 0.4], [height, lean + half * 0.5]],
    )
    top = tops[int(rng.integers(len(tops)))]
    return np.array([[-3, -half], [0, -half], *top, [0, half], [-3, half]])


def toothed_disc(rng: Rng, size: int) -> Canvas:
    """A disc, a bar or a belt with teeth, lobes or blades; they are its components."""
    c = Canvas.blank(backdrop(rng, size))
    colour, round_ = against(rng, c.background), rng.random() < 0.6
    gloss, bevel = rng.uniform(0, 0.7), rng.uniform(1.5, 5)
    high = rng.uniform(12, 24)
    places: list[tuple[float, float, float]]
    if round_:
        r, n = rng.uniform(88, 112), int(rng.integers(10, 31))
        face = coloured(colour, lathe(rng, size, 160, 160, rng.uniform(0.02, 0.1)) * grainy(rng, size, 0.02))
        c.place(c.disc(160, 160, r), face, lift=5, bevel=bevel, gloss=gloss)
        if rng.random() < 0.5:
            ring = c.disc(160, 160, r * rng.uniform(0.7, 0.85), r * rng.uniform(0.35, 0.45))
            c.lift(ring, rng.uniform(-4, 4), 4)
        holes, start = int(rng.choice([0, 0, 3, 4, 6])), rng.uniform(0, 360)
        for i in range(holes):
            c.cut(c.disc(*spoke(r * 0.58, start + 360 * i / holes), r * rng.uniform(0.1, 0.1001)))
        bore = r * rng.uniform(0.12, 0.34)
        c.cut(c.disc(160, 160, bore))
        if rng.random() < 0.4:
            c.cut(c.box(*spoke(bore, start), bore * 0.6, bore * 0.5, start))
        places = [(*spoke(r, start + 360 * i / n), start + 360 * i / n) for i in range(n)]
        pitch = 2 * np.pi * r / n
    else:
        n, thick, y = int(rng.integers(8, 22)), rng.uniform(36, 110), rng.uniform(130, 190)
        pitch, face = 256 / n, coloured(colour, finish(rng, size))
        long = 340 if (belt := rng.random() < 0.5) else 276
        c.place(c.box(160, y, long, thick, 0, 0 if belt else 3), face, lift=5, bevel=bevel, gloss=gloss)
        sides = [-1] if rng.random() < 0.6 else [-1, 1]
        reach = (n + 3 if belt else n - 1) / 2
        at = np.arange(-reach, reach + 0.5) * pitch + 160
        places = [(float(x), y + side * thick / 2, side * 90.0) for side in sides for x in at]
    tooth = _tooth(rng, high, pitch * rng.uniform(0.5, 0.85))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.polygon(turned(tooth, angle, x, y)), face, lift=5, bevel=bevel, gloss=gloss)

    for x, y, angle in places:
        if 28 < x < 292:
            c.components.append(Component(draw, x, y, min(high, pitch) * 0.6, angle))
        else:
            draw(c, x, y, angle)
    return c


def punched_sheet(rng: Rng, size: int) -> Canvas:
    """Holes or slots of one shape in a lattice, in a plate or all over the picture."""
    c = Canvas.blank(backdrop(rng, size))
    colour = _apart(rng, 1, c.background.mean((1, 2)))[0]
    full = rng.random() < 0.5
    w, h = (340, 340) if full else rng.uniform(210, 280, 2)
    c.place(
        c.box(160, 160, w, h, 0, 0 if full else rng.uniform(0, 20)),
        coloured(colour, finish(rng, size)),
        lift=3,
        bevel=2.5,
        gloss=rng.uniform(0, 0.6),
    )
    pitch, ratio, lattice = rng.uniform(22, 46), rng.uniform(0.85, 1.5), int(rng.integers(3))
    r, shape = pitch * rng.uniform(0.24, 0.36), int(rng.integers(6))
    long = r * min(rng.uniform(1.3, 2), ratio * pitch * 0.42 / r)
    tilt = rng.uniform(0, 90) if full and rng.random() < 0.5 else 0.0
    cross = np.array([[-3, -1], [-1, -1], [-1, -3], [1, -3], [1, -1], [3, -1], [3, 1], [1, 1], [1, 3], [-1, 3]])
    outline = (
        circle(0, 0, r),
        circle(0, 0, r)[::7],
        np.array([[-r, -r], [r, -r], [r, r], [-r, r]]) * 0.85,
        rounded_box(1.2 * r, 2 * long, 0.6 * r),
        np.concatenate([cross, [[-1, 1], [-3, 1]]]) * r / 3,
        circle(0, 0, r)[::14],
    )[shape]

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        hole = turned(outline, angle, x, y)
        canvas.lift(canvas.polygon((hole - (x, y)) * 1.15 + (x, y)), -1, 2)
        canvas.cut(canvas.polygon(hole))

    reach = int(230 / pitch)
    rows = [(i + 0.5 * (lattice == 1) * (j % 2), j) for j in range(-reach, reach + 1) for i in range(-reach, reach + 1)]
    step = 0.87 if lattice == 1 and shape < 2 else max(ratio, 1.0)
    spots = turned(np.array(rows) * (pitch, pitch * step), tilt, 160, 160)
    half = np.array([w, h]) / 2 - (0 if full else max(r, long) + 8)
    spots = rng.permutation(spots[(np.abs(spots - 160) < half + (10 if full else 0)).all(1)])
    inner = ((spots > 34) & (spots < 286)).all(1)
    # A hundred holes drawn one by one are slow; any forty may be the wrong ones.
    loose = np.flatnonzero(inner)[:40]
    fixed = np.delete(spots, loose, 0)
    if len(fixed):
        holes = [turned(outline, tilt, x, y) for x, y in fixed]
        c.lift(c.polygon(*((o - at) * 1.15 + at for o, at in zip(holes, fixed, strict=True))), -1, 2)
        c.cut(c.polygon(*holes))
    c.components = [Component(draw, float(x), float(y), r, tilt) for x, y in spots[loose]]
    return c


def speckled_stone(rng: Rng, size: int) -> Canvas:
    """Chips, flakes or speckles in a binder, polished or rough."""
    binder = any_colour(rng, (0.2, 0.95))
    c = Canvas.surface(coloured(binder, grainy(rng, size, rng.uniform(0.01, 0.06), 3)), rng.uniform(0, 0.5))
    for _ in range(int(rng.integers(1, 4))):  # Speckles.
        mix = clouds(rng, size, np.exp(rng.uniform(np.log(2.5), np.log(14))), 2)
        alpha = np.clip((mix - rng.uniform(0.5, 1.4)) * rng.uniform(2, 6), 0, 1) * rng.uniform(0.3, 0.9)
        c.albedo += alpha * (any_colour(rng)[:, None, None] - c.albedo)
    relief = rng.uniform(-1, 1)
    for _ in range(int(rng.integers(0, 4))):  # Chips.
        typical, colour = np.exp(rng.uniform(np.log(2.5), np.log(9))), any_colour(rng)
        count = int(min(260, rng.uniform(0.06, 0.16) * UNITS**2 / (np.pi * typical**2)))
        stretch, corners = rng.uniform(0.5, 1), int(rng.integers(4, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, (count, corners)), 1)[..., None]
        radii = typical * np.exp(rng.normal(0, 0.35, (count, 1, 1)))
        outlines = radii * np.concatenate([np.cos(angles), stretch * np.sin(angles)], 2)
        outlines = outlines + rng.uniform(-5, UNITS + 5, (count, 1, 2))
        chips = c.polygon(*outlines)
        c.paint(chips, coloured(colour, grainy(rng, size, 0.08, 5)))
        c.lift(chips, relief, 1.5)
    return c


def packed_box(rng: Rng, size: int) -> Canvas:
    """Goods of two or three kinds in a pattern, packed in the cells of a box."""
    c = Canvas.blank(backdrop(rng, size))
    card = against(rng, c.background)
    columns, rows = int(rng.integers(3, 7)), int(rng.integers(3, 7))
    pitch = min(62.0, 262 / max(columns, rows))
    w, h = columns * pitch + 14, rows * pitch + 14
    c.place(c.box(160, 160, w, h, 0, rng.uniform(0, 12)), coloured(card, finish(rng, size)), lift=8, bevel=3)
    deep = card * (0.5 if card.mean() > 80 else 0.6)
    kinds = int(rng.integers(2, 4))
    colours, sort, ratio = _apart(rng, kinds, deep), int(rng.integers(4)), rng.uniform(0.72, 1)
    label, gloss, hull = any_colour(rng), rng.uniform(0, 0.7), int(rng.integers(3))
    r, common = pitch * rng.uniform(0.38, 0.43), float(rng.choice([0, 90, 180, 270]))

    def good(look: int) -> Stamp:
        colour = colours[look]
        ink = against(rng, colour) if abs(float((label - colour).mean())) < 50 else label

        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            body = (
                canvas.ellipse(x, y, r, r * ratio, angle)
                if hull == 0
                else canvas.box(x, y, 1.9 * r, 1.9 * r * ratio, angle, r * (0.2 if hull == 1 else 0.6))
            )
            canvas.place(body, colour, lift=r * 0.35, bevel=r * (0.25 if hull == 1 else 0.7), gloss=gloss)
            at = spoke(0.42 * r, angle, x, y)
            mark = (
                canvas.disc(*at, r * 0.22),
                canvas.box(*at, r * 0.3, r * ratio, angle),
                canvas.polygon(turned(np.array([[-1.4, -0.5], [0.4, 0], [-1.4, 0.5]]) * r, angle, *at)),
                canvas.box(*at, r * 0.5, r * 0.5, angle + 45),
            )[sort]
            canvas.paint(mark, ink, 0.95)

        return draw

    goods, pattern = [good(look) for look in range(kinds)], int(rng.integers(3))
    square = rng.random() < 0.5
    for k, (x, y) in enumerate(jittered_grid(rng, columns, rows, pitch, pitch)):
        row, col = divmod(k, columns)
        cell = c.box(x, y, pitch * 0.92, pitch * 0.92, 0, 3) if square else c.disc(x, y, pitch * 0.46)
        c.paint(cell, deep)
        c.lift(cell, -6, 4)
        look = (row + col, row, col)[pattern] % kinds
        dx, dy, turn = rng.normal(0, [0.6, 0.6, 2])
        c.components.append(Component(goods[look], x + dx, y + dy, r, common + turn, look))
    return c


def coil_spring(rng: Rng, size: int) -> Canvas:
    """A long coiled or threaded body, seen from the side, at any tilt."""
    c = Canvas.blank(backdrop(rng, size))
    colour, tilt = against(rng, c.background), rng.uniform(0, 180)
    n, reach = int(rng.integers(8, 20)), rng.uniform(38, 62)
    pitch = min(rng.uniform(200, 256) / n, 24)
    wire = pitch * rng.uniform(0.4, 0.62)
    lean, gloss = pitch * rng.uniform(0.2, 0.5) * rng.choice([-1, 1]), rng.uniform(0.2, 1)
    half = n * pitch / 2
    gx, gy = grid(size)
    away = ((gy - 160) * np.cos(np.radians(tilt)) - (gx - 160) * np.sin(np.radians(tilt))) / reach
    colour = coloured(colour, (1.05 - rng.uniform(0.2, 0.5) * np.minimum(away**2, 1)).astype(np.float32))
    if cored := rng.random() < 0.5:  # A thread on a shaft.
        core = c.box(160, 160, 2 * half + 16, reach * 1.96, tilt)
        c.place(core, colour * 0.7, lift=3, bevel=3, gloss=gloss * 0.5)
    else:
        for i in range(1, n - 1):
            back = turned([[i * pitch - half, reach * 0.92], [(i + 1) * pitch - half, -reach * 0.92]], tilt, 160, 160)
            c.place(c.stroke(back, wire * 0.9), colour * 0.5, lift=2, bevel=wire / 2)
    ends = int(rng.integers(3))
    for side in (-1, 1):
        x, y = spoke(side * (half + 6), tilt)
        if ends == 0 or (ends == 1 and side < 0):
            plate = rng.uniform(10, 16) if side < 0 else 12.0
            c.place(c.box(x, y, plate, reach * 2.1, tilt, 2), colour * 0.9, lift=6, bevel=4, gloss=gloss)
    s = np.linspace(-1, 1, 11)
    flight = np.stack([lean * np.sin(s * np.pi / 2), reach * s], 1)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        line = turned(flight, angle, x, y)
        if cored:
            canvas.tint(canvas.stroke(line + 1.5, wire), 0.7)
        canvas.place(canvas.stroke(line, wire), colour, lift=wire * 0.5, bevel=wire / 2, gloss=gloss)

    for i in range(n):
        x, y = spoke((i + 0.5) * pitch - half, tilt)
        if 0 < i < n - 1:  # Without the last one it would be a shorter spring.
            c.components.append(Component(draw, x, y, pitch * 0.9, tilt))
        else:
            draw(c, x, y, tilt)
    return c


def bead_chain(rng: Rng, size: int) -> Canvas:
    """Beads on a string, in a repeating code of colours or sizes."""
    c = Canvas.blank(backdrop(rng, size))
    behind = c.background.mean((1, 2))
    code = _CODES[int(rng.integers(len(_CODES)))]
    colours = _apart(rng, max(code) + 1, behind)
    t = np.linspace(0, 1, 200)
    bends = (
        np.stack([np.cos(2 * np.pi * t), rng.uniform(0.7, 1) * np.sin(2 * np.pi * t)], 1) * rng.uniform(85, 118),
        np.stack([270 * (t - 0.5), rng.uniform(20, 80) * np.sin(2 * np.pi * t * rng.uniform(0.5, 1.2))], 1),
        np.stack([250 * (t - 0.5), rng.uniform(-150, 150) * (t - 0.5) ** 2 * 2 + rng.uniform(-40, 40)], 1),
    )
    closed = (shape := int(rng.integers(3))) == 0
    path = turned(bends[shape], rng.uniform(0, 360), 160, 160)
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    n = len(code) * max(2, round(along[-1] / (rng.uniform(17, 32) * len(code))))
    pitch = along[-1] / (n if closed else n - 1)
    r = pitch * rng.uniform(0.38, 0.47)
    sizes = np.array([1, 1, 1]) if rng.random() < 0.6 else rng.uniform(0.75, 1, 3)
    ratio, gloss = rng.uniform(0.8, 1), rng.uniform(0.1, 1)
    cord = c.stroke(path, rng.uniform(2, 4))
    c.place(cord, against(rng, c.background), lift=0.4, bevel=1)

    def bead(look: int) -> Stamp:
        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            k = r * sizes[look]
            canvas.tint(canvas.disc(x + 2, y + 3, k), 0.75)
            canvas.place(
                canvas.ellipse(x, y, k, k * ratio, angle), colours[look], lift=k * 0.8, bevel=k * 0.8, gloss=gloss
            )

        return draw

    beads = [bead(look) for look in range(len(colours))]
    for i in range(n):
        x, y = (float(np.interp(i * pitch, along, axis)) for axis in path.T)
        look = code[i % len(code)]
        if closed or 0 < i < n - 1:
            c.components.append(Component(beads[look], x, y, r, rng.uniform(-8, 8), look))
        else:
            beads[look](c, x, y, 0)
    return c
